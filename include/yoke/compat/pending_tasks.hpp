// PendingTasks: what a face has submitted and is not done, to wait for all of it; and detached tasks. Thread-safe.
#pragma once

#include <algorithm>
#include <iterator>
#include <mutex>
#include <vector>

#include "yoke/future.hpp"

namespace yoke::compat {

class PendingTasks {
 public:
  template <class T>
  void add(const Future<T>& future) {
    const std::lock_guard lock(mutex_);
    if (tasks_.size() >= prune_at_) {
      std::erase_if(tasks_, [](const TaskPtr& task) { return task->done(); });
      prune_at_ = 2 * tasks_.size() + 64;
    }
    tasks_.push_back(TaskPtr(&future.task()));
  }
  std::vector<TaskPtr> all() {
    const std::lock_guard lock(mutex_);
    std::vector<TaskPtr> tasks;
    std::copy_if(tasks_.begin(), tasks_.end(), std::back_inserter(tasks), [](const TaskPtr& task) { return !task->done(); });
    return tasks;
  }
  /// Waits for all that was submitted so far; false if the time ran out.
  bool wait(Deadline deadline = {}) {
    const auto tasks = all();
    for (const TaskPtr& task : tasks) task->wait(deadline);
    return std::all_of(tasks.begin(), tasks.end(), [](const TaskPtr& task) { return task->done(); });
  }

 private:
  std::mutex mutex_;
  std::vector<TaskPtr> tasks_;  // in the order of their submits
  std::size_t prune_at_ = 64;   // of what is done
};

/// For a future that nobody looks at: what its task throws goes to the error handler, as what a callback throws.
template <class T>
void detach(const Future<T>& future) {
  future.add_done_callback([](const Future<T>& done) {
    if (!done.cancelled()) static_cast<void>(done.result());
  });
}

}  // namespace yoke::compat
