// Completions: what an agent's pool has finished, for the agent's one thread to send.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "lib/protocol/notes.hpp"
#include "lib/system/event_fd.hpp"

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

/// Filled by any thread, emptied by one, which polls descriptor(). Making one throws std::system_error.
class Completions {
 public:
  void add(Completion completion) {
    {
      const std::lock_guard lock(mutex_);
      done_.push_back(std::move(completion));
      if (std::exchange(announced_, true)) return;
    }
    wake();
  }
  void wake() const noexcept { event_.signal(); }
  int descriptor() const noexcept { return event_.get(); }
  /// What there is, in place of what `done` held.
  void take(std::vector<Completion>& done) {
    done.clear();
    const std::lock_guard lock(mutex_);
    event_.clear();
    announced_ = false;
    std::swap(done, done_);
  }

 private:
  const system::EventFd event_ = system::EventFd::make();
  std::mutex mutex_;
  std::vector<Completion> done_;
  bool announced_ = false;
};

}  // namespace yoke::protocol
