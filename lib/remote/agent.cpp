#include "lib/remote/agent.hpp"

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
#include <memory>
#include <thread>
#include <unordered_map>

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/failure.hpp"
#include "lib/local/local_pool.hpp"
#include "lib/remote/completions.hpp"
#include "lib/remote/found_functions.hpp"
#include "lib/remote/kept_blocks.hpp"
#include "lib/remote/worker_lines.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/rights.hpp"
#include "lib/system/thread.hpp"
#include "yoke/call.hpp"
#include "yoke/process.hpp"

namespace yoke::remote {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr std::chrono::microseconds lone_wait{
    200};     // for a task with no other beside it, so that nobody need wake this thread
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

FailureNote note_of(const Failure& failure) {
  const auto* deaths = dynamic_cast<const pool::DeathFailure*>(&failure);
  return deaths ? FailureNote{FailureKind::deaths, {}, deaths->reports()} : describe_failure(failure.make(""), {});
}

/// Packs what became of a task; of a death, with names and lines.
void complete(const std::shared_ptr<Completions>& completions, TaskNumber number, Task& task) {
  if (task.cancelled()) return;
  const Outcome outcome = task.outcome();
  if (outcome.bytes.buffer() && outcome.bytes.buffer()->speaks_of_shared_memory())
    return completions->add({number, ResultKind::failure, task.worker_pid(), task.elapsed_ns,
                             packed_note({FailureKind::serialization, shared_result, {}})});
  Completion completion{number, ResultKind::value, task.worker_pid(), task.elapsed_ns, outcome.bytes};
  if (outcome.kind == Outcome::Kind::exception) completion.kind = ResultKind::exception;
  if (!outcome.failure) return completions->add(std::move(completion));
  post_callback([completions, completion = std::move(completion), failure = outcome.failure]() mutable {
    if (const auto* lost = dynamic_cast<const wire::LostItems*>(failure.get())) {
      for (const auto& [item, why] : lost->items()) completion.lost.emplace_back(item, packed_note(note_of(*why)));
      return completions->add(std::move(completion));
    }
    const FailureNote note = note_of(*failure);
    if (note.kind == FailureKind::broken) completion.broken = note.text;
    completion.kind = ResultKind::failure;
    completion.bytes = packed_note(note);
    completions->add(std::move(completion));
  });
}

ResultNote result_note(const Completion& done, Blob bytes) {
  ResultNote note{done.number, done.kind, done.pid, done.elapsed_ns, bytes};
  for (const auto& [item, failure] : done.lost) note.lost.push_back({item, {failure.view()}});
  return note;
}

struct TellsCompletion final : Task::Continuation {
  TellsCompletion(std::shared_ptr<Completions> to, TaskNumber task_number)
      : Continuation(true), completions(std::move(to)), number(task_number) {}
  void run(Task& task) override { complete(completions, number, task); }
  std::shared_ptr<Completions> completions;
  TaskNumber number;
};

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
    return heard_ + (greeted_ ? Milliseconds(hello_.silence_ms) : Milliseconds(hello_patience));
  }
  void look_for_events();
  void read_frames();
  void handle(const Frame& frame);
  void begin(const Hello& hello);
  void take_tasks(const Frame& frame);
  void take_task(const TaskNote& note, Bytes arguments);
  void refuse(TaskNumber number, const FailureNote& note);
  void send_results();
  void send_large(const Completion& completion);
  void look_for_starts();
  void cancel(const CancelNote& note);
  void send_state();
  void stop(bool kill);
  void say_farewell();
  void end_lost();

  system::UniqueFd in_, out_;
  FrameReader reader_;
  FrameQueue queue_;
  std::shared_ptr<Completions> completions_;
  std::vector<Completion> done_;
  std::shared_ptr<local::LocalPool> pool_;
  Hello hello_;
  FoundFunctions functions_;
  KeptBlocks blocks_;
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
  note.memory =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  push_note(queue_, FrameType::welcome, note);
}

int Agent::run() {
  try {
    while (end_ != End::lost && !(end_ == End::asked && closed_ && queue_.empty())) look_for_events();
    if (end_ == End::asked) say_farewell();
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
  std::vector<pollfd> looks{
      {in_.get(), POLLIN, 0}, {queue_.empty() ? -1 : out_.get(), POLLOUT, 0}, {completions_->descriptor(), POLLIN, 0}};
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
      throw Error(
          "its stdin ended before the client's first word: the launcher has to pass it on (-i of docker and podman)");
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
    case FrameType::module: return functions_.add_module(unpack_note<ModuleNote>(frame.head));
    case FrameType::function:
      functions_.add(unpack_note<FunctionNote>(frame.head), hello_.identity == system::home_module().identity);
      if (!pool_) begin(hello_);
      return;
    case FrameType::tasks:
    case FrameType::large_task: return take_tasks(frame);
    case FrameType::keep_block: return blocks_.keep(frame);
    case FrameType::drop_block: return blocks_.drop(unpack_note<BlockNote>(frame.head).number);
    case FrameType::cancel: return cancel(unpack_note<CancelNote>(frame.head));
    case FrameType::resize: {
      const Message message(frame.head);
      if (pool_) pool_->resize(std::max(1, unpack_value<int>(message.object())));
      return;
    }
    case FrameType::stop: return stop(unpack_note<StopNote>(frame.head).kill);
    case FrameType::output_taken: return lines_.taken(unpack_note<OutputTakenNote>(frame.head).bytes);
    case FrameType::heartbeat: return;
    default: throw ProtocolError(fmt::format("a frame of type {} is none of a client's", static_cast<int>(frame.type)));
  }
}

/// Makes the pool. Where there is an initializer, once its function is known.
void Agent::begin(const Hello& hello) {
  ExecutorOptions options = options_of(hello.settings);
  if (hello.initializer) {
    const FoundFunction* const function = functions_.find(hello.initializer->function);
    if (!function) return;
    if (!function->trouble.empty()) throw ProtocolError("the initializer cannot run here: " + function->trouble);
    const auto arguments = std::as_bytes(std::span(hello.initializer->arguments));
    options.initializer = Initializer(*function->callable, function->target, Bytes(arguments));
  }
  local::WorkerOutput output;
  if (hello.forward_output)
    output = [this](int rank) { return lines_.descriptors_of(rank, completions_->descriptor()); };
  pool_ = local::LocalPool::make(options, {}, std::move(output));
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
    const FoundFunction* const function = functions_.find(note.function);
    if (!function) throw Error("the host was not told of its function");
    if (!function->trouble.empty()) throw Error(function->trouble);
    if (!pool_) throw BrokenProcessPool(broken_);
    if (!note.places.empty()) arguments = blocks_.put_into(arguments, note.places);
    TaskPtr task(new Task(*function->callable, function->target, std::move(arguments)));
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

void Agent::refuse(TaskNumber number, const FailureNote& note) {
  Completion completion{number, ResultKind::failure, 0, 0, packed_note(note)};
  if (note.kind == FailureKind::broken) completion.broken = note.text;
  completions_->add(std::move(completion));
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
    batch.add(result_note(done, {done.bytes.view()}));
    if (batch.bytes() >= most_batch_bytes) batch.push_to(queue_, FrameType::results);
  }
  batch.push_to(queue_, FrameType::results);
  done_.clear();
  if (failed || (closed_ && end_ == End::asked)) send_state();
}

void Agent::send_large(const Completion& done) {
  try {
    static_cast<void>(done.bytes.view());  // it may be gone
    push_note(queue_, FrameType::large_result, result_note(done, {}), done.bytes);
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

/// The stream may go on when this process is gone: what a task has left behind holds the launcher's stderr open.
void Agent::say_farewell() {
  queue_.push(FrameType::farewell, {});
  while (end_ == End::asked && !queue_.empty()) look_for_events();
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

bool agent_pending() noexcept { return system::own_variable(agent_variable).has_value(); }

void run_agent() {
  const std::string token = system::own_variable(agent_variable).value_or("");
  ::unsetenv(agent_variable);  // what this process starts is no agent
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGTERM,
           [](int signal) { ::_exit(128 + signal); });  // the first process of a container has no default action
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
