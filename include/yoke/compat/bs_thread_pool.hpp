// yoke::bs::thread_pool in place of BS::thread_pool 5: its methods by their documented names, over worker processes.
//
//   BS::thread_pool pool(4);            // before
//   yoke::bs::thread_pool pool(4);      // after
//
// What differs: a task that crashes costs its own future and no other; loops write to a captured view of a SharedArray,
// and not to the caller's containers (crossing.hpp); what a detached task throws goes to set_error_handler; purge() leaves
// CancelledError in the futures of what it drops; a pool cannot be paused. Threads: every call may come from any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include "yoke/compat/pending_tasks.hpp"
#include "yoke/crossing.hpp"
#include "yoke/executor.hpp"
#include "yoke/parallel_for.hpp"

namespace yoke::bs {

using priority_t = int;  // higher first, as in TaskOptions

/// The futures of a loop's blocks.
template <class T>
class multi_future : public std::vector<Future<T>> {
 public:
  using std::vector<Future<T>>::vector;

  /// Waits for all; throws what the first of them threw.
  auto get() {
    wait();
    if constexpr (std::is_void_v<T>) {
      for (auto& future : *this) future.get();
    } else {
      std::vector<T> values;
      values.reserve(this->size());
      for (auto& future : *this) values.push_back(future.get());
      return values;
    }
  }
  std::size_t ready_count() const {
    return static_cast<std::size_t>(std::count_if(this->begin(), this->end(), [](const auto& f) { return f.done(); }));
  }
  bool valid() const {
    return std::all_of(this->begin(), this->end(), [](const auto& f) { return f.valid(); });
  }
  void wait() const {
    for (const auto& future : *this) future.wait();
  }
  /// True if all are done in time.
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until(std::chrono::steady_clock::now() + timeout);
  }
  template <class C, class D>
  bool wait_until(const std::chrono::time_point<C, D>& time) const {
    return std::all_of(this->begin(), this->end(),
                       [&](const auto& f) { return f.wait_until(time) == std::future_status::ready; });
  }
};

class thread_pool {
 public:
  /// As many workers as cpu_count(). The end waits for all tasks, as that of an executor does.
  thread_pool() = default;
  explicit thread_pool(std::size_t workers) : thread_pool(workers, Initializer()) {}
  /// `init` runs once in every worker: a function, or what initializer() makes.
  template <class Init>
  thread_pool(std::size_t workers, Init&& init)
      : pool_(ExecutorOptions{.max_workers = static_cast<int>(workers), .initializer = as_initializer(init)}) {}
  explicit thread_pool(ExecutorOptions options) : pool_(std::move(options)) {}
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  // One task.
  template <class F>
  auto submit_task(F&& task, priority_t priority = 0) {
    return submit(priority, detail::crossing(std::forward<F>(task)));
  }
  template <class F>
  void detach_task(F&& task, priority_t priority = 0) {
    compat::detach(submit_task(std::forward<F>(task), priority));
  }

  // Blocks [first, last) of indices: block(begin, end) for each of num_blocks (0: one a worker).
  template <class T1, class T2, class F>
  auto submit_blocks(T1 first, T2 last, F&& block, std::size_t num_blocks = 0, priority_t priority = 0) {
    using T = detail::LoopIndex<T1, T2>;
    const auto [from, to] = detail::loop_bounds(first, last);
    const auto task = detail::crossing(std::forward<F>(block));
    multi_future<decltype(submit(priority, task, T(), T()).get())> futures;
    detail::each_block<T>(from, to, num_blocks != 0 ? num_blocks : get_thread_count(),
                          [&](T begin, T end) { futures.push_back(submit(priority, task, begin, end)); });
    return futures;
  }
  template <class T1, class T2, class F>
  void detach_blocks(T1 first, T2 last, F&& block, std::size_t num_blocks = 0, priority_t priority = 0) {
    for (auto& future : submit_blocks(first, last, std::forward<F>(block), num_blocks, priority)) compat::detach(future);
  }

  // The same with a function of one index.
  template <class T1, class T2, class F>
  multi_future<void> submit_loop(T1 first, T2 last, F&& loop, std::size_t num_blocks = 0, priority_t priority = 0) {
    using T = detail::LoopIndex<T1, T2>;
    return submit_blocks(first, last, detail::loop_over<T>(std::forward<F>(loop)), num_blocks, priority);
  }
  template <class T1, class T2, class F>
  void detach_loop(T1 first, T2 last, F&& loop, std::size_t num_blocks = 0, priority_t priority = 0) {
    for (auto& future : submit_loop(first, last, std::forward<F>(loop), num_blocks, priority)) compat::detach(future);
  }

  // A task for each index.
  template <class T1, class T2, class F>
  auto submit_sequence(T1 first, T2 last, F&& sequence, priority_t priority = 0) {
    using T = detail::LoopIndex<T1, T2>;
    const auto [from, to] = detail::loop_bounds(first, last);
    const auto task = detail::crossing(std::forward<F>(sequence));
    multi_future<decltype(submit(priority, task, T()).get())> futures;
    for (T i = from; i < to; ++i) futures.push_back(submit(priority, task, i));
    return futures;
  }
  template <class T1, class T2, class F>
  void detach_sequence(T1 first, T2 last, F&& sequence, priority_t priority = 0) {
    for (auto& future : submit_sequence(first, last, std::forward<F>(sequence), priority)) compat::detach(future);
  }

  /// Waits for all that was submitted so far.
  void wait() { pending_.wait(); }
  /// True if all is done in time.
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) {
    return pending_.wait(detail::deadline_in(timeout));
  }
  template <class C, class D>
  bool wait_until(const std::chrono::time_point<C, D>& time) {
    return wait_for(time - C::now());
  }
  /// Drops what no worker has started.
  void purge() {
    for (const TaskPtr& task : pending_.all()) task->cancel(CancelMode::if_not_started);
  }

  std::size_t get_tasks_queued() const { return pool_.stats().waiting; }
  std::size_t get_tasks_running() const { return pool_.stats().running; }
  std::size_t get_tasks_total() const {
    const Stats stats = pool_.stats();
    return stats.waiting + stats.running;
  }
  std::size_t get_thread_count() const { return static_cast<std::size_t>(pool_.max_workers()); }
  /// Another number of workers. Unlike the original it does not wait: running tasks finish, waiting ones stay.
  void reset() { reset(static_cast<std::size_t>(cpu_count())); }
  void reset(std::size_t workers) { pool_.resize(static_cast<int>(workers)); }

  /// For what is not here: time limits, retries, names, map.
  ProcessPoolExecutor& executor() noexcept { return pool_; }

 private:
  template <class Init>
  static Initializer as_initializer(Init&& init) {
    if constexpr (std::is_same_v<std::remove_cvref_t<Init>, Initializer>)
      return std::forward<Init>(init);
    else
      return initializer(detail::crossing(std::forward<Init>(init)));
  }

  template <class F, class... Args>
  auto submit(priority_t priority, const F& task, Args&&... args) {
    auto future = priority == 0 ? pool_.submit(task, std::forward<Args>(args)...)
                                : pool_.submit(TaskOptions{.priority = priority}, task, std::forward<Args>(args)...);
    pending_.add(future);
    return future;
  }

  ProcessPoolExecutor pool_;
  compat::PendingTasks pending_;
};

}  // namespace yoke::bs
