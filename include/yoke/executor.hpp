// Executors: submit functions, get futures.
//
// Threads: every call may come from any thread, from callbacks, and from tasks in workers (nested pools). Nothing here
// waits for a worker except shutdown({.wait = true}) and a ProcessPoolExecutor's destructor.
// Errors: submit and map throw ShutdownExecutorError after shutdown, BrokenProcessPool when the pool cannot go on,
// SerializationError when an argument cannot be packed, std::invalid_argument for options that make no sense.
#pragma once

#include "yoke/language.hpp"

#include <concepts>
#include <memory>
#include <utility>

#include "yoke/future.hpp"
#include "yoke/map.hpp"
#include "yoke/options.hpp"
#include "yoke/pool.hpp"
#include "yoke/task_type.hpp"

namespace yoke {
namespace detail {

[[noreturn]] YOKE_API void throw_no_pool();
/// An executor's, which has none once it was moved from.
inline Pool& pool_of(const std::shared_ptr<Pool>& pool) {
  if (!pool) throw_no_pool();
  return *pool;
}

}  // namespace detail

/// The typed calls of everything that can `send` a task to a pool.
template <class Self>
class ExecutorFace {
 public:
  /// Runs fn(args...) in a worker. fn: a function, a captureless or by_value() lambda, a member function pointer,
  /// bind(f, args...), or an object with a codec. Arguments are converted to fn's parameter types here, then packed.
  template <class F, class... Args>
    requires(!std::same_as<std::remove_cvref_t<F>, TaskOptions>)
  auto submit(F&& fn, Args&&... args) {
    return submit_task(nullptr, std::forward<F>(fn), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  auto submit(const TaskOptions& options, F&& fn, Args&&... args) {
    return submit_task(&options, std::forward<F>(fn), std::forward<Args>(args)...);
  }
  YOKE_REFUSE_OVERLOADED(submit, ...)

  /// fn over the zipped ranges, up to the end of the shortest; results in order.
  template <class F, class... Ranges>
    requires(!std::same_as<std::remove_cvref_t<F>, MapOptions>)
  auto map(F&& fn, Ranges&&... ranges) {
    return map(MapOptions(), std::forward<F>(fn), std::forward<Ranges>(ranges)...);
  }
  template <class F, class... Ranges>
  auto map(const MapOptions& options, F&& fn, Ranges&&... ranges) {
    if constexpr (detail::is_map<F, Ranges...>()) {
      if constexpr (requires { self().follow(); }) self().follow();
      Self sender = self().sender();
      return detail::start_map([sender](TaskPtr task) mutable { sender.send(std::move(task)); },
                               detail::pool_of(self().pool()), options, std::forward<F>(fn),
                               std::forward<Ranges>(ranges)...);
    } else {
      detail::refuse_map<F, Ranges...>();
    }
  }
  YOKE_REFUSE_OVERLOADED(map, ...)

 private:
  Self& self() { return static_cast<Self&>(*this); }

  template <class F, class... Args>
  auto submit_task(const TaskOptions* options, F&& fn, Args&&... args) {
    using C = detail::CallableType<F>;
    if constexpr (detail::is_task<C, Args...>()) {
      using Type = detail::TaskType<C, Args...>;
      using Result = typename Type::Result;
      const C& callable = fn;
      if constexpr (requires { self().follow(); }) self().follow();
      PackBuffer packed;
      const auto form = Type::form_for(detail::pool_of(self().pool()));
      Type::pack_arguments(packed, form ? &*form : nullptr, callable, std::forward<Args>(args)...);
      boost::intrusive_ptr<detail::TaskOf<Result>> task(
          new detail::TaskOf<Result>(Type::callable_for(form), detail::Crossing<C>::target(callable), packed.take()));
      if (options) task->set_options(*options);
      self().send(task);
      return Future<Result>(std::move(task));
    } else {
      detail::refuse_task<C, Args...>();
    }
  }
};

/// The typed face of any pool. Copies share the pool; the last one to go does not shut it down. One that has none,
/// since it was moved from, throws Error, but for shutdown, which does nothing.
class YOKE_API Executor : public ExecutorFace<Executor> {
 public:
  explicit Executor(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}

  void shutdown(const ShutdownOptions& options = {}) {
    if (pool_) pool_->shutdown(options);
  }
  /// Returns at once; running tasks are not disturbed. Throws std::invalid_argument below 1.
  void resize(int max_workers) { detail::pool_of(pool_).resize(max_workers); }
  /// No worker begins a task until unpause(); those that run go on. Returns at once. Remote pools throw Error.
  void pause() { detail::pool_of(pool_).set_paused(true); }
  void unpause() { detail::pool_of(pool_).set_paused(false); }
  int max_workers() const { return detail::pool_of(pool_).max_workers(); }
  Stats stats() const { return detail::pool_of(pool_).stats(); }
  const std::shared_ptr<Pool>& pool() const noexcept { return pool_; }
  void send(TaskPtr task);
  Executor sender() const { return *this; }

 protected:
  std::shared_ptr<Pool> pool_;
};

/// A pool of worker processes on this machine. Owns the pool: the destructor is shutdown({.wait = true}).
class YOKE_API ProcessPoolExecutor : public Executor {
 public:
  explicit ProcessPoolExecutor(ExecutorOptions options = {});
  explicit ProcessPoolExecutor(int max_workers);
  ProcessPoolExecutor(ProcessPoolExecutor&&) noexcept = default;
  ProcessPoolExecutor& operator=(ProcessPoolExecutor&& other) noexcept;
  ~ProcessPoolExecutor();
};

/// The waist, filled: a pool of worker processes; with YOKE_IN_PROCESS=1 in the environment, an in-process one.
YOKE_API std::shared_ptr<Pool> make_process_pool(const ExecutorOptions& options);

/// A pool that runs its tasks in this process, one after the other in order, on one thread: for debuggers and for
/// comparisons. A crash of a task is a crash of the program; a running task cannot be killed.
YOKE_API std::shared_ptr<Pool> make_in_process_pool(const ExecutorOptions& options = {});

}  // namespace yoke
