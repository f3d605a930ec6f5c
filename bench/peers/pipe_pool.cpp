#include "bench/peers/pipe_pool.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <system_error>

#include "bench/peers/pipes.hpp"
#include "bench/peers/thread_pool.hpp"

namespace yoke::bench {
namespace {

struct Header {
  std::uint64_t length;
  PipePool::Handler handler;
};

/// A header and its message in one write where they fit into the pipe.
bool send(int pipe, PipePool::Handler handler, std::span<const std::byte> message) {
  const Header header{message.size(), handler};
  if (message.size() > 4096) return write_all(pipe, std::as_bytes(std::span(&header, 1))) && write_all(pipe, message);
  std::byte both[sizeof header + 4096];
  std::memcpy(both, &header, sizeof header);
  if (!message.empty()) std::memcpy(both + sizeof header, message.data(), message.size());
  return write_all(pipe, std::span(both).first(sizeof header + message.size()));
}

bool receive(int pipe, PipePool::Handler& handler, PipePool::Message& message) {
  Header header;
  if (!read_all(pipe, std::as_writable_bytes(std::span(&header, 1)))) return false;  // the other side is gone
  handler = header.handler;
  message.resize(header.length);
  return read_all(pipe, message);
}

[[noreturn]] void work(int requests, int answers) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  PipePool::Handler handler;
  PipePool::Message message;
  while (receive(requests, handler, message))
    if (!send(answers, handler, handler(message))) break;
  ::_exit(0);
}

}  // namespace

PipePool::PipePool(int workers) {
  ::signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < workers; ++i) start_worker();
  for (const Worker& worker : workers_) threads_.emplace_back([this, &worker] { serve(worker); });
}

void PipePool::start_worker() {
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::system_category(), "pipe2");
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::system_category(), "fork");
  if (pid == 0) {
    for (const Worker& other : workers_) {  // or its end would never be seen
      ::close(other.requests);
      ::close(other.answers);
    }
    ::close(to[1]);
    ::close(from[0]);
    work(to[0], from[1]);
  }
  ::close(to[0]);
  ::close(from[1]);
  workers_.push_back({pid, to[1], from[0]});
}

PipePool::~PipePool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  for (const Worker& worker : workers_) {
    ::close(worker.requests);
    ::close(worker.answers);
    while (::waitpid(worker.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

std::future<PipePool::Message> PipePool::submit(Handler handler, Message message) {
  Task task{handler, std::move(message), {}};
  std::future<Message> future = task.promise.get_future();
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
  }
  changed_.notify_one();
  return future;
}

void PipePool::serve(const Worker& worker) {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    Handler handler;
    Message answer;
    if (send(worker.requests, task.handler, task.message) && receive(worker.answers, handler, answer))
      task.promise.set_value(std::move(answer));
    else
      task.promise.set_exception(std::make_exception_ptr(std::runtime_error("the worker is gone")));
  }
}

namespace {

struct Call {
  ThreadPool::Function function;
  int argument;
};

PipePool::Message bytes_of(const auto& value) {
  PipePool::Message bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
template <class T>
T value_of(std::span<const std::byte> bytes) {
  T value;
  if (bytes.size() != sizeof value) throw std::logic_error("a message of a wrong length came through a pipe");
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}
PipePool::Message call(std::span<const std::byte> message) {
  const auto [function, argument] = value_of<Call>(message);
  return bytes_of(function(argument));
}

class IntPipePool final : public ThreadPool {
 public:
  explicit IntPipePool(int processes) : pool_(processes) {}
  std::future<int> submit(Function function, int argument) override {
    auto answer = pool_.submit(call, bytes_of(Call{function, argument}));
    return std::async(std::launch::deferred, [answer = std::move(answer)]() mutable {
      return value_of<int>(answer.get());  // in the thread that asks
    });
  }

 private:
  PipePool pool_;
};

}  // namespace

std::unique_ptr<ThreadPool> make_pipe_pool(int processes) { return std::make_unique<IntPipePool>(processes); }

}  // namespace yoke::bench
