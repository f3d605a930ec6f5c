#include "lib/remote/agent.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>
#include <unordered_map>

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/failure.hpp"
#include "lib/pool/local_pool.hpp"
#include "lib/remote/blocks.hpp"
#include "lib/remote/completions.hpp"
#include "lib/remote/worker_lines.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/thread.hpp"
#include "lib/wire/function_table.hpp"
#include "yoke/call.hpp"
#include "yoke/named_task.hpp"
#include "yoke/process.hpp"

namespace yoke::remote {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr std::chrono::microseconds lone_wait{200};     // for a task with no other beside it, so that nobody need wake this thread
constexpr std::chrono::milliseconds start_look{20};     // how soon a running task is told of
constexpr std::size_t most_waiting_output = 1 << 20;    // workers' lines are read no faster than they are sent
constexpr unsigned last_seconds = 20;                   // that ending may take
constexpr std::chrono::seconds hello_patience{60};      // from the start to the client's first frame

constexpr char shared_result[] =
    "a SharedArray, or a broadcast value, cannot be returned from another machine: return its elements, as a vector";

Bytes packed_note(const FailureNote& note) {
  PackBuffer packed;
  Packer packer(packed, Packer::Arrays::elements);
  pack_value(packer, note);
  return packed.take();
}

/// A function of the client's, found in this process.
struct RemoteFunction {
  std::unique_ptr<Callable> callable;
  const void* target = nullptr;
  std::string trouble;  // why it was not found; empty: it was
};

struct NoBlock : Error {
  using Error::Error;
};

struct KeptBlock {
  std::shared_ptr<SharedMemory> memory;
  std::string trouble;  // why there is none
};

/// Packs what became of a task; of a death, with names and lines.
void complete(const std::shared_ptr<Completions>& completions, TaskNumber number, Task& task) {
  if (task.cancelled()) return;
  const Outcome outcome = task.outcome();
  if (outcome.bytes.buffer() && outcome.bytes.buffer()->speaks_of_shared_memory())
    return completions->add({number, ResultKind::failure, task.worker_pid(), task.elapsed_ns,
                             packed_note({FailureKind::serialization, shared_result, {}})});
  Completion completion{number, ResultKind::value, task.worker_pid(), task.elapsed_ns, outcome.bytes};
  if (outcome.kind == Outcome::Kind::exception) completion.kind = ResultKind::exception;
  if (outcome.kind != Outcome::Kind::failure) return completions->add(std::move(completion));
  post_callback([completions, completion = std::move(completion), failure = outcome.failure]() mutable {
    const auto* deaths = dynamic_cast<const pool::DeathFailure*>(failure.get());
    const FailureNote note = deaths ? FailureNote{FailureKind::deaths, {}, deaths->reports()}
                                    : describe_failure(failure->make(""), {});
    if (note.kind == FailureKind::broken) completion.broken = note.text;
    completion.kind = ResultKind::failure;
    completion.bytes = packed_note(note);
    completions->add(std::move(completion));
  });
}

struct TellsCompletion final : Task::Continuation {
  TellsCompletion(std::shared_ptr<Completions> to, TaskNumber task_number)
      : Continuation(true), completions(std::move(to)), number(task_number) {}
  void run(Task& task) override { complete(completions, number, task); }
  std::shared_ptr<Completions> completions;
  TaskNumber number;
};

/// A module's description (its identity behind its length, and its path), with the path of the deployed one where there is no
/// file at its own.
std::vector<std::uint8_t> find_deployed(std::vector<std::uint8_t> description) {
  const char* folder = std::getenv(agent_libraries_variable);
  const std::size_t path_at = description.empty() ? 0 : 1 + std::size_t{description[0]};
  if (!folder || path_at == 0 || path_at >= description.size()) return description;
  const std::filesystem::path path(
      std::string(description.begin() + static_cast<std::ptrdiff_t>(path_at), description.end()));
  std::error_code none;
  if (std::filesystem::exists(path, none)) return description;
  const std::string deployed = std::string(folder) + "/" + path.filename().string();
  description.resize(path_at);
  description.insert(description.end(), deployed.begin(), deployed.end());
  return description;
}

class Agent {
 public:
  Agent(system::UniqueFd in, system::UniqueFd out, const std::string& token)
      : in_(std::move(in)), out_(std::move(out)), completions_(std::make_shared<Completions>()) {
    queue_.push_text(marker_of(token));
    welcome();
  }

  /// Returns the exit code of the process.
  int run();

 private:
  enum class End { none, asked, lost };

  void welcome();
  Clock::time_point lease_ends() const {
    return heard_ + (greeted_ ? Milliseconds(hello_.lease_ms) : Milliseconds(hello_patience));
  }
  void look_for_events();
  void read_frames();
  void handle(const Frame& frame);
  void begin(const Hello& hello);
  void learn(const FunctionNote& note);
  std::string find(const FunctionNote& note, RemoteFunction& function);
  void take_tasks(const Frame& frame);
  void take_task(const TaskNote& note, Bytes arguments);
  void keep_block(const Frame& frame);
  Bytes with_blocks(const std::vector<PlaceNote>& places, const Bytes& arguments) const;
  void refuse(TaskNumber number, const FailureNote& note);
  void send_results();
  void send_large(const Completion& completion);
  void look_for_starts();
  void cancel(const CancelNote& note);
  void send_state();
  void stop(bool kill);
  void end_lost();

  system::UniqueFd in_, out_;
  FrameReader reader_;
  FrameQueue queue_;
  std::shared_ptr<Completions> completions_;
  std::vector<Completion> done_;
  std::shared_ptr<pool::LocalPool> pool_;
  Hello hello_;
  wire::FunctionResolver resolver_;
  std::unordered_map<FunctionNumber, RemoteFunction> functions_;
  std::unordered_map<BlockNumber, KeptBlock> blocks_;
  std::unordered_map<TaskNumber, TaskPtr> tasks_;
  std::vector<TaskNumber> unstarted_;  // of which no start has been told
  std::string broken_;
  WorkerLines lines_;
  Clock::time_point heard_ = Clock::now();
  Clock::time_point beats_at_ = Clock::time_point::max();
  Clock::time_point looks_at_ = Clock::time_point::max();  // for tasks that have started
  bool greeted_ = false;
  End end_ = End::none;
  std::thread closing_;
  std::atomic<bool> closed_{false};
};

void Agent::welcome() {
  Welcome note;
  note.identity = system::home_module().identity;
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  note.host = name.data();
  note.pid = ::getpid();
  note.workers = note.cores = cpu_count();
  note.memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  push_note(queue_, FrameType::welcome, note);
}

int Agent::run() {
  try {
    while (end_ != End::lost && !(end_ == End::asked && closed_ && queue_.empty())) look_for_events();
  } catch (const std::exception& error) {
    fmt::print(stderr, "yoke agent: {}\n", error.what());
    end_ = End::lost;
  }
  if (end_ == End::lost) end_lost();
  if (closing_.joinable()) closing_.join();
  return end_ == End::lost ? EXIT_FAILURE : EXIT_SUCCESS;
}

/// One round: sleeps until there is something to do, and does it.
void Agent::look_for_events() {
  enum { in, out, event, first_line };
  std::vector<pollfd> looks{{in_.get(), POLLIN, 0},
                            {queue_.empty() ? -1 : out_.get(), POLLOUT, 0},
                            {completions_->descriptor(), POLLIN, 0}};
  if (queue_.bytes() < most_waiting_output) lines_.add_to(looks);
  const auto wakes_at = std::min({lease_ends(), beats_at_, looks_at_});
  const auto left = std::chrono::ceil<Milliseconds>(wakes_at - Clock::now()).count();
  const int ready = ::poll(looks.data(), looks.size(), static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000)));
  if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::system_category(), "poll");
  if (ready > 0 && looks[in].revents != 0) read_frames();
  if (end_ == End::lost) return;
  if (ready > 0 && looks[event].revents != 0) send_results();
  if (ready > 0 && looks.size() > first_line) lines_.read(std::span(looks).subspan(first_line), queue_);
  if (closed_) lines_.finish(queue_);
  const auto now = Clock::now();
  if (now >= looks_at_) look_for_starts();
  if (now >= beats_at_) {
    send_state();
    beats_at_ = now + Milliseconds(hello_.heartbeat_ms);
  }
  if (now >= lease_ends()) {
    end_ = End::lost;
    return;
  }
  queue_.write_some(out_.get());
}

void Agent::read_frames() {
  const auto room = reader_.room();
  const ssize_t size = ::read(in_.get(), room.data(), room.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    if (!greeted_)
      throw Error("its stdin ended before the client's first word: the launcher has to pass it on (-i of docker and podman)");
    if (end_ == End::none) end_ = End::lost;
    in_.reset();
    return;
  }
  heard_ = Clock::now();
  reader_.filled(static_cast<std::size_t>(size));
  Frame frame;
  while (reader_.next(frame)) handle(frame);
  if (tasks_.size() == 1 && pool_) {
    const TaskPtr lone = tasks_.begin()->second;
    pool_->wait(*lone, Clock::now() + lone_wait);
    if (lone->done()) send_results();
  }
}

void Agent::handle(const Frame& frame) {
  if (!greeted_ && frame.type != FrameType::hello) throw ProtocolError("the client's first frame is no hello");
  switch (frame.type) {
    case FrameType::hello:
      hello_ = unpack_note<Hello>(frame.head);
      greeted_ = true;
      beats_at_ = Clock::now();
      if (hello_.version != protocol_version)
        throw ProtocolError(fmt::format("the client speaks version {} of the protocol, the agent version {}",
                                        hello_.version, protocol_version));
      if (!hello_.initializer) begin(hello_);
      return;
    case FrameType::module: {
      const auto note = unpack_note<ModuleNote>(frame.head);
      constexpr std::uint32_t most_modules = 65536;
      if (note.number >= most_modules) throw ProtocolError(fmt::format("module number {} is too high", note.number));
      const auto description = find_deployed(note.description);
      resolver_.add_module(note.number, std::as_bytes(std::span(description)));
      return;
    }
    case FrameType::function:
      learn(unpack_note<FunctionNote>(frame.head));
      if (!pool_) begin(hello_);
      return;
    case FrameType::tasks:
    case FrameType::large_task: return take_tasks(frame);
    case FrameType::keep_block: return keep_block(frame);
    case FrameType::drop_block: blocks_.erase(unpack_note<BlockNote>(frame.head).number); return;
    case FrameType::cancel: return cancel(unpack_note<CancelNote>(frame.head));
    case FrameType::resize: {
      const Message message(frame.head);
      if (pool_) pool_->resize(std::max(1, unpack_value<int>(message.object())));
      return;
    }
    case FrameType::stop: return stop(unpack_note<StopNote>(frame.head).kill);
    case FrameType::heartbeat: return;
    default: throw ProtocolError(fmt::format("a frame of type {} is none of a client's", static_cast<int>(frame.type)));
  }
}

/// Makes the pool. Where there is an initializer, once its function is known.
void Agent::begin(const Hello& hello) {
  ExecutorOptions options = options_of(hello.settings);
  if (hello.initializer) {
    const auto found = functions_.find(hello.initializer->function);
    if (found == functions_.end()) return;
    if (!found->second.trouble.empty()) throw ProtocolError("the initializer cannot run here: " + found->second.trouble);
    const auto arguments = std::as_bytes(std::span(hello.initializer->arguments));
    options.initializer = Initializer(*found->second.callable, found->second.target, Bytes(arguments));
  }
  pool::WorkerOutput output;
  if (hello.forward_output) output = [this](int rank) { return lines_.descriptors_of(rank, completions_->descriptor()); };
  pool_ = pool::LocalPool::make(options, {}, std::move(output));
}

void Agent::learn(const FunctionNote& note) {
  RemoteFunction function;
  try {
    function.trouble = find(note, function);
  } catch (const std::exception& error) {
    function.trouble = error.what();
  }
  functions_.insert_or_assign(note.number, std::move(function));
}

/// What is in the way; empty: nothing, and the function is there.
std::string Agent::find(const FunctionNote& note, RemoteFunction& function) {
  if (note.task.empty()) {
    if (hello_.identity != system::home_module().identity)
      return "another build of the program runs there, which has only its named tasks (YOKE_TASK) in common with this one. "
             "Put the same build on the host, or set deploy";
    const void* const trampoline = resolver_.resolve(note.trampoline);
    function.callable.reset(new Callable{reinterpret_cast<Trampoline>(const_cast<void*>(trampoline)), &typeid(void)});
    function.target = note.target ? resolver_.resolve(note.target) : nullptr;
    return {};
  }
  for (const NamedTask* task : named_tasks())
    if (task->name == note.task) {
      const Callable& found = note.chunk ? *task->chunk_callable : *task->callable;
      function.callable.reset(new Callable{found.trampoline, found.type});
      return {};
    }
  std::string why = fmt::format("the program there has no task '{}'", note.task);
  try {
    static_cast<void>(resolver_.resolve(note.trampoline));
  } catch (const std::exception& error) {  // its library cannot be opened, for one
    why += fmt::format(": {}", error.what());
  }
  return why;
}

void Agent::take_tasks(const Frame& frame) {
  const Message message(frame.head);
  if (frame.type == FrameType::large_task) {
    const auto note = unpack_value<TaskNote>(message.object());
    if (frame.trouble.empty()) return take_task(note, frame.payload);
    return refuse(note.number, {FailureKind::other, "its arguments cannot be had on the host: " + frame.trouble, {}});
  }
  for (const Object& item : detail::unpack_array(message.object())) {
    const auto note = unpack_value<TaskNote>(item);
    take_task(note, Bytes(note.arguments.bytes));
  }
}

void Agent::take_task(const TaskNote& note, Bytes arguments) {
  try {
    const auto found = functions_.find(note.function);
    if (found == functions_.end()) throw Error("the host was not told of its function");
    if (!found->second.trouble.empty()) throw Error(found->second.trouble);
    if (!pool_) throw BrokenProcessPool(broken_);
    if (!note.places.empty()) arguments = with_blocks(note.places, arguments);
    TaskPtr task(new Task(*found->second.callable, found->second.target, std::move(arguments)));
    if (note.terms) {
      TaskOptions options;
      if (note.terms->timeout_ms) options.timeout = Milliseconds(*note.terms->timeout_ms);
      options.retries = note.terms->retries;
      options.priority = note.terms->priority;
      task->set_options(std::move(options));
    }
    task->add_continuation(std::make_unique<TellsCompletion>(completions_, note.number));
    if (!tasks_.emplace(note.number, task).second) throw ProtocolError(fmt::format("task {} came twice", note.number));
    pool_->submit(std::move(task));
    unstarted_.push_back(note.number);
    looks_at_ = std::min(looks_at_, Clock::now() + start_look);
  } catch (const ProtocolError&) {
    throw;
  } catch (const NoBlock& error) {
    refuse(note.number, {FailureKind::no_block, error.what(), {}});
  } catch (const std::exception&) {
    refuse(note.number, describe_failure(std::current_exception(), {}));
  }
}

/// What the client has in shared memory, for all tasks that will name it.
void Agent::keep_block(const Frame& frame) {
  constexpr char trouble[] = "a shared array, or a broadcast value, cannot be had on the host: ";
  KeptBlock block;
  if (!frame.trouble.empty()) {
    block.trouble = trouble + frame.trouble;
  } else {
    if (frame.payload.size() == 0) throw ProtocolError("a block without content");
    try {
      block.memory = SharedMemory::create_constant(frame.payload.view());
    } catch (const std::exception& error) {
      block.trouble = fmt::format("{}there is no memory for its {} bytes: {}", trouble, frame.payload.size(), error.what());
    }
  }
  blocks_.insert_or_assign(unpack_note<BlockNote>(frame.head).number, std::move(block));
}

/// Arguments that speak of this process's memory where they spoke of the client's.
Bytes Agent::with_blocks(const std::vector<PlaceNote>& places, const Bytes& arguments) const {
  PackBuffer patched;
  const auto content = arguments.view();
  patched.write(reinterpret_cast<const char*>(content.data()), content.size());
  for (const PlaceNote& place : places) {
    const auto found = blocks_.find(place.block);
    if (found == blocks_.end()) throw Error("the host was not sent its shared array");
    if (!found->second.memory) throw NoBlock(found->second.trouble);
    shared_place::write({patched.data(), patched.size()}, place.at, found->second.memory->place());
    patched.hold(found->second.memory, place.at);
  }
  return patched.take();
}

void Agent::refuse(TaskNumber number, const FailureNote& note) {
  completions_->add({number, ResultKind::failure, 0, 0, packed_note(note), note.kind == FailureKind::broken ? note.text : ""});
}

void Agent::send_results() {
  completions_->take(done_);
  Batch batch;
  bool failed = false;
  for (const Completion& done : done_) {
    tasks_.erase(done.number);
    failed |= done.kind == ResultKind::failure;
    if (!done.broken.empty()) broken_ = done.broken;
    if (done.bytes.size() >= large_bytes) {
      send_large(done);
      continue;
    }
    batch.add(ResultNote{done.number, done.kind, done.pid, done.elapsed_ns, {done.bytes.view()}});
    if (batch.bytes() >= most_batch_bytes) batch.push_to(queue_, FrameType::results);
  }
  batch.push_to(queue_, FrameType::results);
  done_.clear();
  if (failed || (closed_ && end_ == End::asked)) send_state();
}

void Agent::send_large(const Completion& done) {
  try {
    static_cast<void>(done.bytes.view());  // it may be gone
    push_note(queue_, FrameType::large_result, ResultNote{done.number, done.kind, done.pid, done.elapsed_ns, {}}, done.bytes);
  } catch (const Error&) {
    refuse(done.number, describe_failure(std::current_exception(), {}));
  }
}

/// Tells the client of tasks that run and of which it does not know yet.
void Agent::look_for_starts() {
  StartedNote note;
  std::erase_if(unstarted_, [&](TaskNumber number) {
    const auto found = tasks_.find(number);
    if (found == tasks_.end()) return true;
    if (!pool_->running(*found->second)) return false;
    note.numbers.push_back(number);
    return true;
  });
  if (!note.numbers.empty()) push_note(queue_, FrameType::started, note);
  looks_at_ = unstarted_.empty() ? Clock::time_point::max() : Clock::now() + start_look;
}

void Agent::cancel(const CancelNote& note) {
  CancelledNote answer{note.number, false};
  if (const auto found = tasks_.find(note.number); found != tasks_.end()) {
    answer.cancelled = pool_->cancel(*found->second, note.kill ? CancelMode::kill : CancelMode::if_not_started);
    if (answer.cancelled) tasks_.erase(found);
  }
  push_note(queue_, FrameType::cancelled, answer);
}

void Agent::send_state() {
  if (!pool_) return push_note(queue_, FrameType::state, StateNote{{}, broken_});
  push_note(queue_, FrameType::state, StateNote{pool_->stats(), broken_});
}

/// Ends in good order: the client hears of it meanwhile, and results still go out.
void Agent::stop(bool kill) {
  end_ = End::asked;
  if (closing_.joinable() || closed_) return;
  closing_ = system::start_thread("yoke-closing", [this, kill] {
    if (pool_) pool_->shutdown({.wait = true, .kill_workers = kill});
    closed_ = true;
    completions_->wake();
  });
}

/// The client is gone: nobody hears any more, and nothing may stay.
void Agent::end_lost() {
  ::alarm(last_seconds);  // if ending hangs, the kernel ends this process, and its lifelines the workers
  if (pool_) pool_->shutdown({.wait = true, .kill_workers = true});
}

/// Its stdin and stdout become the agent's own; user code gets others.
system::UniqueFd take_stream(int standard, int replacement) {
  system::UniqueFd taken(::fcntl(standard, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!taken || ::dup2(replacement, standard) < 0)
    throw std::system_error(errno, std::system_category(), "taking the agent's stream");
  ::fcntl(taken.get(), F_SETFL, ::fcntl(taken.get(), F_GETFL) | O_NONBLOCK);
  return taken;
}

}  // namespace

bool agent_pending() noexcept { return std::getenv(agent_variable) != nullptr; }

void run_agent() {
  const std::string token = std::getenv(agent_variable);
  ::unsetenv(agent_variable);  // what this process starts is no agent
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGTERM, [](int signal) { ::_exit(128 + signal); });  // the first process of a container has no default action
  int code = EXIT_FAILURE;
  try {
    const system::UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    auto in = take_stream(STDIN_FILENO, null.get());
    auto out = take_stream(STDOUT_FILENO, STDERR_FILENO);
    Agent agent(std::move(in), std::move(out), token);
    code = agent.run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "yoke agent: {}\n", error.what());
  }
  ::_exit(code);
}

}  // namespace yoke::remote
