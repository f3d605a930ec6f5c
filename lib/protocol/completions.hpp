// Completions: what an agent's pool has finished, for the agent's one thread to send.
#pragma once

#include <sys/eventfd.h>

#include <cstdint>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "lib/protocol/protocol.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::protocol {

struct Completion {
  TaskNumber number = 0;
  ResultKind kind = ResultKind::value;
  int pid = 0;
  std::uint32_t elapsed_ns = 0;
  Bytes bytes;
  std::vector<std::pair<std::uint64_t, Bytes>> lost{};  // items of a chunk, each with a FailureNote
  std::string broken{};  // why the whole pool cannot go on, where this task failed for it
};

/// Filled by any thread, emptied by one, which polls descriptor().
class Completions {
 public:
  Completions() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) throw std::system_error(errno, std::system_category(), "eventfd");
    event_ = system::above_stdio(std::move(event_));
  }

  void add(Completion completion) {
    {
      const std::lock_guard lock(mutex_);
      done_.push_back(std::move(completion));
      if (std::exchange(announced_, true)) return;
    }
    wake();
  }
  void wake() const noexcept { ::eventfd_write(event_.get(), 1); }
  int descriptor() const noexcept { return event_.get(); }
  /// What there is, in place of what `done` held.
  void take(std::vector<Completion>& done) {
    done.clear();
    const std::lock_guard lock(mutex_);
    eventfd_t count = 0;
    ::eventfd_read(event_.get(), &count);
    announced_ = false;
    std::swap(done, done_);
  }

 private:
  system::UniqueFd event_;
  std::mutex mutex_;
  std::vector<Completion> done_;
  bool announced_ = false;
};

}  // namespace yoke::protocol
