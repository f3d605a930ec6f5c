// PipePool: the naive way to have worker processes. A forked child and two pipes for each worker, a thread here for
// each child that writes a message and reads the answer, a queue with a mutex and a condition variable before the
// threads. A message is a length, the handler's address (the child is a copy of this process) and the bytes.
//
// Any thread may submit. The destructor ends the children. A child that dies fails the task it ran and all later ones.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <future>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace yoke::bench {

class PipePool {
 public:
  using Message = std::vector<std::byte>;
  using Handler = Message (*)(std::span<const std::byte>);
  explicit PipePool(int workers);  // throws std::system_error
  ~PipePool();
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  std::future<Message> submit(Handler handler, Message message);
  [[nodiscard]] pid_t pid(std::size_t worker) const { return workers_[worker].pid; }

 private:
  struct Worker {
    pid_t pid;
    int requests;  // the end that is written
    int answers;  // the end that is read
  };
  struct Task {
    Handler handler;
    Message message;
    std::promise<Message> promise;
  };
  void start_worker();
  void serve(const Worker& worker);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> queue_;
  bool stopping_ = false;
  std::vector<Worker> workers_;
  std::vector<std::thread> threads_;
};

}  // namespace yoke::bench
