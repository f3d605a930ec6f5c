// Backlog: the tasks that wait for a worker, by priority and then in the order in which they came. Tasks resolved
// meanwhile (cancelled) are passed over. One thread at a time (the pool's lock).
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "lib/system/assert.hpp"
#include "yoke/pool.hpp"

namespace yoke::pool {

class Backlog {
 public:
  void push_back(TaskPtr task) {
    YOKE_ASSERT(!task->done());
    ++size_;
    if (task->options().priority == 0)
      ordinary_.push_back(std::move(task));
    else
      special_[task->options().priority].push_back(std::move(task));
  }
  /// Before all others of its priority: for tasks that come back.
  void push_front(TaskPtr task) {
    YOKE_ASSERT(!task->done());
    ++size_;
    if (task->options().priority == 0)
      ordinary_.push_front(std::move(task));
    else
      special_[task->options().priority].push_front(std::move(task));
  }
  /// The next one to run, null if none waits. Lets go of those before it that were resolved.
  Task* front() {
    drop_resolved(ordinary_);
    for (auto it = special_.begin(); it != special_.end();) {
      drop_resolved(it->second);
      if (it->second.empty())
        it = special_.erase(it);
      else
        break;  // highest priority that there is
    }
    auto* queue = next_queue();
    YOKE_ASSERT(queue || size_ == 0);
    return queue ? queue->front().get() : nullptr;
  }
  /// After front() returned a task: takes it out.
  void pop() {
    next_queue()->pop_front();
    --size_;
    front();
  }
  bool empty() const noexcept { return size_ == 0; }
  /// One of those that wait was resolved, and is passed over. Whoever resolves one says so. Lets go of it, if it was
  /// next: a task holds its pool.
  void forget_one() noexcept {
    YOKE_ASSERT(size_ != 0);
    --size_;
    front();
  }
  std::size_t size() const noexcept { return size_; }
  /// Takes all out, in order.
  std::deque<TaskPtr> take_all() {
    std::deque<TaskPtr> all;
    while (Task* task = front()) {
      all.emplace_back(task);
      pop();
    }
    return all;
  }

 private:
  static void drop_resolved(std::deque<TaskPtr>& queue) {
    while (!queue.empty() && queue.front()->done()) queue.pop_front();
  }
  std::deque<TaskPtr>* next_queue() {
    if (!special_.empty() && (special_.begin()->first > 0 || ordinary_.empty())) return &special_.begin()->second;
    return ordinary_.empty() ? nullptr : &ordinary_;
  }

  std::size_t size_ = 0;  // of those that are not resolved
  std::deque<TaskPtr> ordinary_;  // priority 0
  std::map<int, std::deque<TaskPtr>, std::greater<int>> special_;  // all others
};

}  // namespace yoke::pool
