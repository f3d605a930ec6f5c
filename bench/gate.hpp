// Gate: a task that waits in a worker until this process opens the gate, and so keeps all others waiting.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>

#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {

class Gate {
 public:
  /// Returns when the executor's worker, its only one, waits at the gate. Throws std::system_error.
  explicit Gate(ProcessPoolExecutor& executor) {
    if (::pipe2(ends_, O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category(), "pipe2");
    task_ = executor.submit(wait_at_gate, ::getpid(), ends_[0]);
    while (!task_.running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ~Gate() {
    for (const int end : ends_) ::close(end);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void open() {
    if (::write(ends_[1], "", 1) != 1) throw std::system_error(errno, std::system_category(), "write to the gate");
  }
  /// After open(): returns when the task is through.
  void wait_until_passed() { task_.get(); }

 private:
  int ends_[2];
  Future<int> task_;
};

}  // namespace yoke::bench
