#include "lib/remote/agent.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <thread>

#include "lib/local/local_pool.hpp"
#include "lib/pool/worker_lines.hpp"
#include "lib/protocol/stream.hpp"
#include "lib/protocol/task_server.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/pipe.hpp"
#include "lib/system/poller.hpp"
#include "lib/system/rights.hpp"
#include "lib/system/thread.hpp"
#include "yoke/call.hpp"
#include "yoke/process.hpp"

namespace yoke::remote {

using namespace protocol;

namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr std::chrono::microseconds lone_wait{
    200};     // for a task with no other beside it, so that nobody need wake this thread
constexpr std::chrono::milliseconds start_look{20};     // how soon a running task is told of
constexpr std::size_t most_waiting_output = 1 << 20;    // workers' lines are read no faster than they are sent
constexpr unsigned last_seconds = 20;                   // that ending may take
constexpr std::chrono::seconds hello_patience{60};      // from the start to the client's first frame

class Agent {
 public:
  Agent(system::UniqueFd in, system::UniqueFd out, const std::string& token)
      : in_(std::move(in)), out_(std::move(out)) {
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
  void send_results();
  void send_large(const ResultNote& note, const Bytes& bytes);
  void look_for_starts();
  pool::WorkerLines::Tell send_output();
  void send_state();
  void stop(bool kill);
  void say_farewell();
  void end_lost();

  system::UniqueFd in_, out_;
  FrameReader reader_{is_frame_type};
  FrameQueue queue_;
  TaskServer server_;
  Hello hello_;
  pool::WorkerLines lines_{output_window, [this] { server_.wake(); }};
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
  system::Poller poller;
  const auto in = poller.add_reader(in_.get());
  const auto event = poller.add_reader(server_.descriptor());
  if (!queue_.empty()) poller.add_writer(out_.get());
  const bool reads_lines = queue_.bytes() < most_waiting_output;
  if (reads_lines) lines_.add_to(poller);
  if (const auto error = poller.wait(std::min({lease_ends(), beats_at_, looks_at_})))
    throw std::system_error(error, "poll");
  if (poller.is_ready(in)) read_frames();
  if (end_ == End::lost) return;
  if (poller.is_ready(event)) send_results();
  if (reads_lines) lines_.read(poller, send_output());
  if (closed_) lines_.finish(send_output());
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
  if (server_.wait_for_lone(lone_wait)) send_results();
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
    case FrameType::module: return server_.add_module(unpack_note<ModuleNote>(frame.head));
    case FrameType::function:
      server_.add_function(unpack_note<FunctionNote>(frame.head), hello_.identity == system::home_module().identity);
      if (!server_.pool()) begin(hello_);
      return;
    case FrameType::tasks:
    case FrameType::large_task: return take_tasks(frame);
    case FrameType::keep_block:
      return server_.blocks().keep(unpack_note<BlockNote>(frame.head).number, frame.payload, frame.trouble);
    case FrameType::drop_block: return server_.blocks().drop(unpack_note<BlockNote>(frame.head).number);
    case FrameType::cancel:
      return push_note(queue_, FrameType::cancelled, server_.cancel(unpack_note<CancelNote>(frame.head)));
    case FrameType::resize: {
      const Message message(frame.head);
      if (server_.pool()) server_.pool()->resize(std::max(1, unpack_value<int>(message.object())));
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
    auto initializer = server_.initializer_of(*hello.initializer);
    if (!initializer) return;
    options.initializer = std::move(*initializer);
  }
  pool::WorkerOutput output;
  if (hello.forward_output) output = [this](int rank) { return lines_.descriptors_of(rank); };
  server_.serve_by(local::LocalPool::make(options, {}, std::move(output)));
}

void Agent::take_tasks(const Frame& frame) {
  const Message message(frame.head);
  if (frame.type == FrameType::large_task) {
    const auto note = unpack_value<TaskNote>(message.object());
    if (!frame.trouble.empty())
      return server_.refuse(note.number,
                            {FailureKind::other, "its arguments cannot be had on the host: " + frame.trouble, {}});
    server_.take(note, frame.payload);
  } else {
    for (const Object& item : detail::unpack_array(message.object())) {
      const auto note = unpack_value<TaskNote>(item);
      server_.take(note, Bytes(note.arguments.bytes));
    }
  }
  if (server_.awaits_starts()) looks_at_ = std::min(looks_at_, Clock::now() + start_look);
}

void Agent::send_results() {
  Batch batch;
  const bool failed = server_.take_results([&](ResultNote note, const Bytes& bytes) {
    if (bytes.size() >= large_bytes) return send_large(note, bytes);
    note.bytes = {bytes.view()};
    batch.add(note);
    if (batch.bytes() >= most_batch_bytes) batch.push_to(queue_, FrameType::results);
  });
  batch.push_to(queue_, FrameType::results);
  if (failed || (closed_ && end_ == End::asked)) send_state();
}

void Agent::send_large(const ResultNote& note, const Bytes& bytes) {
  try {
    static_cast<void>(bytes.view());  // it may be gone
    push_note(queue_, FrameType::large_result, note, bytes);
  } catch (const Error&) {
    server_.refuse(note.number, describe_failure(std::current_exception(), {}));
  }
}

/// Tells the client of tasks that run and of which it does not know yet.
void Agent::look_for_starts() {
  if (StartedNote note{server_.take_starts()}; !note.numbers.empty()) push_note(queue_, FrameType::started, note);
  looks_at_ = server_.awaits_starts() ? Clock::now() + start_look : Clock::time_point::max();
}

pool::WorkerLines::Tell Agent::send_output() {
  return [this](int rank, bool is_stderr, std::string text) {
    push_note(queue_, FrameType::output, OutputNote{rank, is_stderr, std::move(text)});
  };
}

void Agent::send_state() { push_note(queue_, FrameType::state, server_.state()); }

/// Ends in good order: the client hears of it meanwhile, and results still go out.
void Agent::stop(bool kill) {
  end_ = End::asked;
  if (closing_.joinable() || closed_) return;
  closing_ = system::start_thread("yoke-closing", [this, kill, pool = server_.pool()] {
    if (pool) pool->shutdown({.wait = true, .kill_workers = kill});
    closed_ = true;
    server_.wake();
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
  if (const auto& pool = server_.pool()) pool->shutdown({.wait = true, .kill_workers = true});
}

/// Its stdin and stdout become the agent's own; user code gets others.
system::UniqueFd take_stream(int standard, int replacement) {
  system::UniqueFd taken(::fcntl(standard, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!taken || ::dup2(replacement, standard) < 0)
    throw std::system_error(errno, std::system_category(), "taking the agent's stream");
  system::set_nonblocking(taken);
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
