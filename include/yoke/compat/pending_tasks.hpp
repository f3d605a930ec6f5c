// PendingTasks: what a face has submitted and is not done, to wait for all of it; and detached tasks. Thread-safe.
#pragma once

#include "yoke/language.hpp"

#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "yoke/future.hpp"

namespace yoke::compat {

class PendingTasks {
 public:
  /// Until it is done: its result is its futures' alone.
  template <class T>
  void add(const Future<T>& future) {
    auto entry = std::make_unique<Entry>(state_);
    {
      const std::lock_guard lock(state_->mutex);
      entry->place = state_->tasks.insert(state_->tasks.end(), TaskPtr(&future.task()));
    }
    future.task().add_continuation(std::move(entry));
  }
  std::vector<TaskPtr> all() {
    const std::lock_guard lock(state_->mutex);
    return {state_->tasks.begin(), state_->tasks.end()};
  }
  /// Waits for all that was submitted so far; false if the time ran out.
  bool wait(Deadline deadline = {}) {
    const auto tasks = all();
    for (const TaskPtr& task : tasks) task->wait(deadline);
    return std::all_of(tasks.begin(), tasks.end(), [](const TaskPtr& task) { return task->done(); });
  }

 private:
  struct State {
    std::mutex mutex;
    std::list<TaskPtr> tasks;  // in the order of their submits
  };
  /// Takes its task out when that is done, perhaps after the face has gone.
  struct Entry final : Task::Continuation {
    explicit Entry(std::shared_ptr<State> all) : Continuation(true), state(std::move(all)) {}
    void run(Task&) override {
      const std::lock_guard lock(state->mutex);
      state->tasks.erase(place);
    }
    std::shared_ptr<State> state;
    std::list<TaskPtr>::iterator place;
  };

  std::shared_ptr<State> state_ = std::make_shared<State>();
};

/// For a future that nobody looks at: what its task throws goes to the error handler.
template <class T>
void detach(const Future<T>& future) {
  detail::when_done(future.task(), [future] {
    try {
      if (!future.cancelled()) static_cast<void>(future.result());
    } catch (...) {
      detail::report_detached(std::current_exception());
    }
  });
}

}  // namespace yoke::compat
