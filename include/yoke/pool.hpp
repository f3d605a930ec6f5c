// The waist: all that an executor knows of where tasks run. Bytes in, bytes out.
//
// A Pool takes a Task (a reference to code, packed arguments, options) and answers with one Outcome (a packed value, a
// packed exception, or a failure of the pool's own). A backend derives from Pool and knows nothing of types; the typed
// faces above know nothing of places.
#pragma once

#include "yoke/language.hpp"

#include <atomic>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "yoke/bytes.hpp"
#include "yoke/clock.hpp"
#include "yoke/error.hpp"
#include "yoke/export.hpp"
#include "yoke/options.hpp"
#include "yoke/stats.hpp"

namespace yoke {

using Deadline = std::optional<Clock::time_point>;  // empty: for ever

class Call;
using Trampoline = void (*)(Call&);

/// One callable type with one signature: a static object for each, whose trampoline unpacks, calls and packs.
/// The address of the trampoline is what crosses to other processes, as (module, offset).
struct Callable {
  Trampoline trampoline;
  const std::type_info* type;                // of the callable, for names in errors
  std::atomic<std::uint64_t> token{0};  // the local pools' cached reference to the trampoline; 0: not yet asked for
  std::atomic<std::uint32_t> mean_ns{0};  // run time of one call as last measured, 0: unknown; a hint for map
  const bool objects = false;  // its result is msgpack also where the type's bytes would do
  const bool chunk = false;  // it calls for many items: its messages are those of lib/wire/chunk.hpp
  // What a worker may send for a result; it is not trusted.
  const bool result_may_share = true;  // it may speak of shared memory
  const std::optional<std::size_t> result_bytes{};  // its exact length, where the type has one
};

/// Why a pool could not run a task. Immutable; shared by all tasks that one event failed.
class YOKE_API Failure {
 public:
  virtual ~Failure();
  /// A new exception object at each call, so that no two futures share one. `task_name` may go into its text.
  virtual std::exception_ptr make(const std::string& task_name) const = 0;
};

/// The answer to a task.
struct Outcome {
  enum class Kind : std::uint8_t { value, exception, failure };
  Kind kind = Kind::value;
  Bytes bytes;  // packed value or exception
  std::shared_ptr<const Failure> failure;  // for Kind::failure; beside the value of a chunk that lost items: why
};

enum class FutureState {
  pending,  // no worker has started it
  running,  // a worker has started it
  cancelled,  // it will never run, or was killed by cancel(kill)
  finished  // it has a value or an exception
};
YOKE_API const char* to_string(FutureState state) noexcept;

class Pool;
class Task;
using TaskPtr = boost::intrusive_ptr<Task>;

/// A task and, once resolved, its outcome: the state that futures share with the pool.
///
/// Threads: any. (1) The outcome changes once, by one compare-and-swap from pending; whoever comes later does nothing.
/// (2) callable, target and options never change. (3) arguments() may be read by the pool until it resolves the task.
/// (4) pool_word belongs to the pool that the task was submitted to.
class YOKE_API Task {
 public:
  Task(const Callable& callable, const void* target, Bytes arguments);
  virtual ~Task();
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  // Tasks come and go by the million: see lib/system/block_memory.hpp.
  static void* operator new(std::size_t size);
  static void* operator new(std::size_t size, std::align_val_t alignment) { return ::operator new(size, alignment); }
  static void operator delete(void* memory, std::size_t size) noexcept;
  static void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
    ::operator delete(memory, alignment);
  }

  // For pools.
  const Callable& callable() const noexcept { return *callable_; }
  const void* target() const noexcept { return target_; }  // of a function pointer; null for other callables
  const Bytes& arguments() const noexcept { return data_; }
  const TaskOptions& options() const noexcept { return options_ ? *options_ : default_options(); }
  bool has_options() const noexcept { return options_ != nullptr; }
  std::string name() const;  // the option, or the function's own name
  /// Resolves a pending task; false if it was resolved before. Wakes waiters, hands callbacks to their thread. The
  /// caller holds a handle: once the task is resolved, its futures may be gone.
  bool resolve(Outcome&& outcome) noexcept;
  bool resolve_cancelled() noexcept;
  /// Sleeps until the task is resolved or the deadline comes, without helping the pool.
  void sleep_until_done(Deadline deadline) const noexcept;
  /// The outcome once more, for pools that pass tasks on. Only when done() and not cancelled().
  Outcome outcome() const;
  void set_worker_pid(int pid) noexcept { worker_pid_.store(pid, std::memory_order_relaxed); }

  /// The word that changes when the task is resolved, for pools that wait on it with others. See `mark_waited`.
  const std::atomic<std::uint32_t>& state_word() const noexcept { return state_; }
  /// Announces a sleeper on state_word(); returns the value to sleep on, empty if the task is resolved.
  std::optional<std::uint32_t> mark_waited() const noexcept;

  std::uint64_t pool_word = 0;  // the pool's own
  std::uint32_t attempts = 0;  // times that a worker started it; the pool's own
  std::uint32_t elapsed_ns = 0;  // run time that the worker told, saturated; set before resolve

  // For futures.
  bool done() const noexcept {
    return (state_.load(std::memory_order_acquire) & phase_mask) >= phase_value || left_behind();
  }
  FutureState state() const;
  void wait(Deadline deadline) const;
  bool cancel(CancelMode mode);
  int worker_pid() const noexcept { return worker_pid_.load(std::memory_order_relaxed); }
  bool cancelled() const noexcept { return (state_.load(std::memory_order_acquire) & phase_mask) == phase_cancelled; }
  bool has_value() const noexcept { return (state_.load(std::memory_order_acquire) & phase_mask) == phase_value; }
  /// The packed value. Only when has_value().
  const Bytes& value() const noexcept { return data_; }
  void release_value() noexcept { data_.clear(); }  // by the one thread that took the value
  /// Why the pool could not run it, or some items of it; may be null. Only when done().
  const Failure* failure() const noexcept { return failure_.get(); }
  /// A new exception object. Only when done() and neither cancelled() nor has_value().
  std::exception_ptr make_exception() const;
  void set_options(TaskOptions options) { options_ = std::make_unique<const TaskOptions>(std::move(options)); }
  void set_pool(std::shared_ptr<Pool> pool) noexcept { pool_ = std::move(pool); }

  /// What runs once the task is resolved: `inline_` ones at once on the resolving thread (the library's own: they
  /// neither block nor throw), others on the callback thread, in the order of their registration.
  struct Continuation {
    explicit Continuation(bool runs_inline_) : runs_inline(runs_inline_) {}
    virtual ~Continuation();
    virtual void run(Task& task) = 0;
    const bool runs_inline;
    std::unique_ptr<Continuation> next;
    Continuation* before = nullptr;
  };
  void add_continuation(std::unique_ptr<Continuation> continuation);
  /// Takes an inline continuation back; false if it has run or is running.
  bool remove_continuation(const Continuation* continuation);

 private:
  friend void intrusive_ptr_add_ref(Task* task) noexcept { task->references_.fetch_add(1, std::memory_order_relaxed); }
  friend void intrusive_ptr_release(Task* task) noexcept {
    if (task->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete task;
  }

  static constexpr std::uint32_t phase_mask = 7;
  static constexpr std::uint32_t phase_pending = 0;  // belongs to the pool
  static constexpr std::uint32_t phase_resolving = 1;  // one thread writes the outcome
  static constexpr std::uint32_t phase_value = 2;
  static constexpr std::uint32_t phase_exception = 3;
  static constexpr std::uint32_t phase_failure = 4;
  static constexpr std::uint32_t phase_cancelled = 5;
  static constexpr std::uint32_t phase_lost = 6;  // to this process, which was forked from the pool's
  static constexpr std::uint32_t waited_bit = 8;  // someone sleeps on the word
  static constexpr std::uint32_t continued_bit = 16;  // there are continuations

  static const TaskOptions& default_options() noexcept;
  bool claim() noexcept;
  bool left_behind() const noexcept;
  void publish(std::uint32_t phase) noexcept;
  void run_continuations() noexcept;

  std::atomic<std::uint32_t> references_{0};
  mutable std::atomic<std::uint32_t> state_{phase_pending};
  const Callable* callable_;
  const void* target_;
  Bytes data_;  // the arguments, then the outcome
  std::shared_ptr<const Failure> failure_;
  std::unique_ptr<const TaskOptions> options_;
  std::shared_ptr<Pool> pool_;
  mutable std::unique_ptr<Continuation> continuations_;  // guarded by a lock of task.cpp, as is the next
  mutable Continuation* last_continuation_ = nullptr;
  std::atomic<int> worker_pid_{0};
};

/// Where tasks run. All calls may come from any thread, at any time, also after shutdown. In a process that was forked
/// from the one that made the pool nothing waits: what was not done is lost there and throws BrokenProcessPool, as do
/// submit, resize and whatever asks the pool; cancel, running and accepting are false; shutdown and the destructor do
/// nothing.
class YOKE_API Pool {
 public:
  virtual ~Pool();

  /// The executor's own ways to send some types. The typed face packs arguments by the first; whoever runs the tasks
  /// gives the second to each Call.
  const Reducers& job_reducers() const noexcept { return job_reducers_; }
  const Reducers& result_reducers() const noexcept { return result_reducers_; }

  /// Takes a task over: it will be resolved exactly once. Does not wait for room or workers.
  /// Throws ShutdownExecutorError or BrokenProcessPool and has not taken the task then.
  virtual void submit(TaskPtr task) = 0;

  /// Cancels a task that no worker has started, or kills the one that runs it; false if it is too late.
  /// A task cancelled is resolved when this returns true.
  virtual bool cancel(Task& task, CancelMode mode) = 0;

  /// True if a worker has started the task and not yet finished.
  virtual bool running(const Task& task) const = 0;

  /// Returns when the task is resolved or the deadline has come. The calling thread may be put to work meanwhile.
  virtual void wait(const Task& task, Deadline deadline);

  /// False once submit would throw.
  virtual bool accepting() const = 0;
  virtual void shutdown(const ShutdownOptions& options) = 0;
  virtual void resize(int max_workers) = 0;  // throws std::invalid_argument below 1
  /// While it is paused no worker begins a task: what is submitted waits. shutdown ends the pause. A pool that cannot
  /// throws Error.
  virtual void set_paused(bool paused);
  virtual int max_workers() const = 0;
  virtual Stats stats() const = 0;

  /// This process was forked from the one that made the pool: it has none of the pool's threads and workers, and the
  /// pool's locks may be held for ever. No lock and no system call.
  bool in_other_process() const noexcept;
  /// Throws BrokenProcessPool there.
  void check_process() const;

 protected:
  Pool();
  Pool(Reducers job_reducers, Reducers result_reducers);

 private:
  const unsigned generation_;  // of the process that made it: a fork has another
  const Reducers job_reducers_{};
  const Reducers result_reducers_{};
};

}  // namespace yoke
