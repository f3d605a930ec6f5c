// yoke::bs::thread_pool in place of BS::thread_pool 5: its methods by their documented names, over worker processes.
//
//   BS::thread_pool pool(4);            // before
//   yoke::bs::thread_pool pool(4);      // after
//
// What differs: a task that crashes costs its own future and no other; loops write to a captured view of a SharedArray,
// and not to the caller's containers (crossing.hpp); what a detached task throws goes to set_error_handler; purge()
// leaves CancelledError in the futures of what it drops; workers start when tasks wait. README.md here has the list.
// Threads: every call may come from any thread, but for reset() and set_cleanup_func() on the one hand and all others
// on the other.
#pragma once

#include "yoke/language.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "yoke/compat/bs_types.hpp"
#include "yoke/compat/pending_tasks.hpp"
#include "yoke/compat/worker_functions.hpp"
#include "yoke/crossing.hpp"
#include "yoke/executor.hpp"
#include "yoke/parallel_for.hpp"
#include "yoke/process.hpp"
#include "yoke/shared_array.hpp"

namespace yoke::bs {

/// What workers run at their start and end: it takes nothing, or the worker's index.
template <class F>
concept init_func_c = std::invocable<F> || std::invocable<F, std::size_t>;

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
    return all_done_by(detail::deadline_in(timeout));
  }
  template <class C, class D>
  bool wait_until(const std::chrono::time_point<C, D>& time) const {
    return all_done_by(detail::deadline_at(time));
  }

 private:
  bool all_done_by(Deadline deadline) const {
    return std::all_of(this->begin(), this->end(), [&](const auto& f) {
      f.task().wait(deadline);
      return f.done();
    });
  }
};

class thread_pool {
 public:
  static constexpr bool priority_enabled = true;
  static constexpr bool pause_enabled = true;
  static constexpr bool wait_deadlock_checks_enabled = false;

  /// As many workers as cpu_count(), which a number of 0 stands for too. The end waits for all tasks, as that of an
  /// executor does, but drops what has not begun if the pool is paused.
  thread_pool() : thread_pool(0) {}
  explicit thread_pool(std::size_t workers) : thread_pool(ExecutorOptions{.max_workers = size(workers)}) {}
  /// `init` runs once in every worker, before its first task.
  template <init_func_c Init>
  explicit thread_pool(Init&& init) : thread_pool(0, std::forward<Init>(init)) {}
  template <class Init>
  thread_pool(std::size_t workers, Init&& init)
      : at_start_(worker_function(std::forward<Init>(init))), options_(options_with(workers, init)), pool_(options_) {}
  explicit thread_pool(ExecutorOptions options) : options_(std::move(options)), pool_(options_) {}
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() {
    if (is_paused()) purge();
  }

  // One task.
  template <class F>
  auto submit_task(F&& task, priority_t priority = 0) {
    return submit(priority, detail::crossing(std::forward<F>(task)));
  }
  template <class F>
  void detach_task(F&& task, priority_t priority = 0) {
    compat::detach(submit_task(std::forward<F>(task), priority));
  }

  // Many tasks: callables that a range or two iterators give, or one callable a number of times.
  template <std::ranges::input_range Tasks>
  auto submit_bulk(Tasks&& tasks, priority_t priority = 0) {
    return submit_bulk(std::ranges::begin(tasks), std::ranges::end(tasks), priority);
  }
  template <std::input_iterator I, std::sentinel_for<I> S>
  auto submit_bulk(I first, S last, priority_t priority = 0) {
    multi_future<decltype(submit_task(*first, priority).get())> futures;
    for (; first != last; ++first) futures.push_back(submit_task(*first, priority));
    return futures;
  }
  template <std::integral N, class F>
    requires(!std::integral<std::remove_cvref_t<F>>)
  auto submit_bulk(N count, F&& task, priority_t priority = 0) {
    const auto crossing = detail::crossing(std::forward<F>(task));
    multi_future<decltype(submit(priority, crossing).get())> futures;
    for (N i = 0; i < count; ++i) futures.push_back(submit(priority, crossing));
    return futures;
  }
  template <class... What>
  void detach_bulk(What&&... what) {
    for (auto& future : submit_bulk(std::forward<What>(what)...)) compat::detach(future);
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
    for (auto& future : submit_blocks(first, last, std::forward<F>(block), num_blocks, priority))
      compat::detach(future);
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

  /// Waits for all that was submitted so far; while the pool is paused, for what runs.
  void wait() { wait_for_all({}); }
  /// True if all is done in time.
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) {
    return wait_for_all(detail::deadline_in(timeout));
  }
  template <class C, class D>
  bool wait_until(const std::chrono::time_point<C, D>& time) {
    return wait_for_all(detail::deadline_at(time));
  }
  /// Drops what no worker has started.
  void purge() {
    for (const TaskPtr& task : pending_.all()) task->cancel(CancelMode::if_not_started);
  }

  /// No task begins until unpause(); those that run go on.
  void pause() {
    paused_ = true;
    pool_.pause();
  }
  void unpause() {
    paused_ = false;
    pool_.unpause();
  }
  bool is_paused() const noexcept { return paused_; }

  std::size_t get_tasks_queued() const { return pool_.stats().waiting; }
  std::size_t get_tasks_running() const { return pool_.stats().running; }
  std::size_t get_tasks_total() const {
    const Stats stats = pool_.stats();
    return stats.waiting + stats.running;
  }
  std::size_t get_thread_count() const { return static_cast<std::size_t>(pool_.max_workers()); }
  /// The pids of the workers that have started.
  std::vector<int> get_thread_ids() const {
    std::vector<int> pids;
    for (const auto& worker : pool_.stats().workers) pids.push_back(worker.pid);
    return pids;
  }

  /// Another number of workers, which have no initializer. Unlike the original it does not wait where there was none:
  /// running tasks finish, waiting ones stay.
  void reset() { reset(0); }
  void reset(std::size_t workers) {
    if (!options_.initializer) return pool_.resize(size(workers));
    at_start_ = {};
    replace_workers(workers);
  }
  /// New workers, which run `init`, once the present ones have done what was submitted, though the pool be paused.
  template <init_func_c Init>
  void reset(Init&& init) {
    reset(0, std::forward<Init>(init));
  }
  template <init_func_c Init>
  void reset(std::size_t workers, Init&& init) {
    at_start_ = worker_function(std::forward<Init>(init));
    replace_workers(workers);
  }
  /// Run by each worker that leaves, also at the pool's end, but not by one that is killed. The same as reset() in all
  /// else: best called before the first task.
  template <init_func_c Cleanup>
  void set_cleanup_func(Cleanup&& cleanup) {
    if (options_.initializer && at_start_.code == 0 && at_end_.code == 0)
      throw std::invalid_argument("a pool with a ready-made Initializer has no clean-up function");
    at_end_ = worker_function(std::forward<Cleanup>(cleanup));
    replace_workers(get_thread_count());
  }

  /// For what is not here: time limits, retries, names, map.
  ProcessPoolExecutor& executor() noexcept { return pool_; }

 protected:
  bool has_submitted() const { return pool_.stats().submitted != 0; }

 private:
  static int size(std::size_t workers) { return workers != 0 ? static_cast<int>(workers) : cpu_count(); }
  template <class F>
  static compat::WorkerFunction worker_function(F&& function) {
    if constexpr (std::is_same_v<std::remove_cvref_t<F>, Initializer>)
      return {};
    else
      return compat::in_module::worker_function<std::decay_t<F>>(function);
  }
  template <class Init>
  ExecutorOptions options_with(std::size_t workers, const Init& init) const {
    ExecutorOptions options{.max_workers = size(workers)};
    if constexpr (std::is_same_v<std::remove_cvref_t<Init>, Initializer>)
      options.initializer = init;
    else
      options.initializer = compat::in_module::worker_initializer(at_start_, at_end_);
    return options;
  }
  void replace_workers(std::size_t workers) {
    options_.max_workers = size(workers);
    options_.initializer = compat::in_module::worker_initializer(at_start_, at_end_);
    pool_ = ProcessPoolExecutor(options_);
    if (is_paused()) pool_.pause();
  }

  bool wait_for_all(Deadline deadline) {
    if (!is_paused()) return pending_.wait(deadline);
    bool over = true;
    for (const TaskPtr& task : pending_.all()) {
      if (!pool_.pool()->running(*task)) continue;
      task->wait(deadline);
      over &= task->done();
    }
    return over;
  }

  template <class F, class... Args>
  auto submit(priority_t priority, const F& task, Args&&... args) {
    auto future = priority == 0 ? pool_.submit(task, std::forward<Args>(args)...)
                                : pool_.submit(TaskOptions{.priority = priority}, task, std::forward<Args>(args)...);
    pending_.add(future);
    return future;
  }

  compat::WorkerFunction at_start_, at_end_;
  ExecutorOptions options_;
  ProcessPoolExecutor pool_;
  compat::PendingTasks pending_;
  std::atomic<bool> paused_{false};
};

using light_thread_pool = thread_pool;
using priority_thread_pool = thread_pool;
using pause_thread_pool = thread_pool;

/// Its waits throw wait_deadlock in a worker that has given the pool nothing: they would wait for the program's own
/// pool, of which the worker's is no more than the namesake.
class wdc_thread_pool : public thread_pool {
 public:
  static constexpr bool wait_deadlock_checks_enabled = true;
  using thread_pool::thread_pool;

  void wait() {
    check();
    thread_pool::wait();
  }
  template <class Rep, class Period>
  bool wait_for(const std::chrono::duration<Rep, Period>& timeout) {
    check();
    return thread_pool::wait_for(timeout);
  }
  template <class C, class D>
  bool wait_until(const std::chrono::time_point<C, D>& time) {
    check();
    return thread_pool::wait_until(time);
  }

 private:
  void check() const {
    if (this_worker::is_worker() && !has_submitted()) throw wait_deadlock();
  }
};

}  // namespace yoke::bs
