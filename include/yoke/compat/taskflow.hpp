// yoke::tf::Executor in place of tf::Executor, for its asynchronous tasks: async, silent_async, wait_for_all.
//
//   tf::Executor executor(4);           // before
//   yoke::tf::Executor executor(4);     // after
//
// What differs: tasks may have arguments, which are packed, since closures hold plain values only (crossing.hpp); a
// crash costs its own future; what a silent task throws goes to set_error_handler. Graphs of tasks (tf::Taskflow) are
// not here: a task that needs the result of another is submitted once that is done, by the caller or in a done
// callback. Threads: every call may come from any thread. Errors: as submit().
#pragma once

#include "yoke/language.hpp"

#include <concepts>
#include <string>
#include <utility>

#include "yoke/compat/pending_tasks.hpp"
#include "yoke/crossing.hpp"
#include "yoke/executor.hpp"

namespace yoke::tf {

class Executor {
 public:
  /// As many workers as cpu_count().
  Executor() = default;
  explicit Executor(std::size_t workers) : pool_(static_cast<int>(workers)) {}
  explicit Executor(ExecutorOptions options) : pool_(std::move(options)) {}
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  template <class F, class... Args>
    requires(!std::convertible_to<F, std::string>)
  auto async(F&& f, Args&&... args) {
    return async(std::string(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// With a name, which errors show.
  template <class F, class... Args>
  auto async(const std::string& name, F&& f, Args&&... args) {
    auto future =
        pool_.submit(TaskOptions{.name = name}, detail::crossing(std::forward<F>(f)), std::forward<Args>(args)...);
    pending_.add(future);
    return future;
  }
  template <class... What>
  void silent_async(What&&... what) {
    compat::detach(async(std::forward<What>(what)...));
  }

  /// For all that was submitted so far.
  void wait_for_all() { pending_.wait(); }
  std::size_t num_workers() const { return static_cast<std::size_t>(pool_.max_workers()); }

  /// For what is not here: time limits, retries, map.
  ProcessPoolExecutor& executor() noexcept { return pool_; }

 private:
  ProcessPoolExecutor pool_;
  compat::PendingTasks pending_;
};

}  // namespace yoke::tf
