// Future<T>: the caller's handle on one task. wait() and as_completed() on many.
//
// Copyable and cheap; copies share the task. Any thread may use any copy. The last handle to go does not cancel the
// task. Results are unpacked by the thread that asks for them. A default-constructed Future is not valid(); using it
// throws std::future_error(no_state).
#pragma once

#include "yoke/language.hpp"

#include <coroutine>
#include <functional>
#include <future>
#include <optional>
#include <ranges>
#include <unordered_set>
#include <utility>
#include <vector>

#include "yoke/pool.hpp"
#include "yoke/task_type.hpp"

namespace yoke {

namespace detail {

[[noreturn]] YOKE_API void throw_no_state();

/// What has become of the packed result of a task. One step at a time, each by compare-and-swap.
enum class ResultState : std::uint32_t {
  packed,  // nobody has asked for it yet
  busy,    // one thread unpacks it; in the higher bits, of which process
  kept,    // unpacked, for result()
  taken    // moved out by get()
};

/// Begins a step: returns kept, or takes the state from packed to busy. Throws future_error(no_state) if taken.
YOKE_API ResultState begin_unpacking(std::atomic<ResultState>& state);
YOKE_API void end_unpacking(std::atomic<ResultState>& state, ResultState now) noexcept;

/// The task of a Future<T>, with room for its unpacked result.
template <class T>
class TaskOf final : public Task {
 public:
  using Task::Task;

  /// Unpacks into the task once and keeps the value there. What unpacking throws, it throws at each call.
  const T& keep() {
    if (begin_unpacking(state_of_result_) == ResultState::kept) return *kept_;
    unpack(ResultState::kept, [this] { kept_.emplace(unpack_result<T>(value(), callable().objects)); });
    return *kept_;
  }
  /// Moves the value out, for the one caller that comes first.
  T take() {
    if (begin_unpacking(state_of_result_) == ResultState::kept) {
      auto kept = ResultState::kept;
      if (!state_of_result_.compare_exchange_strong(kept, ResultState::taken)) throw_no_state();
      return std::move(*kept_);
    }
    std::optional<T> result;
    unpack(ResultState::taken, [&] { result.emplace(unpack_result<T>(value(), callable().objects)); });
    return std::move(*result);
  }

 private:
  template <class F>
  void unpack(ResultState then, F&& step) {
    try {
      step();
    } catch (...) {
      end_unpacking(state_of_result_, ResultState::packed);
      throw;
    }
    release_value();
    end_unpacking(state_of_result_, then);
  }

  std::optional<T> kept_;
  std::atomic<ResultState> state_of_result_{ResultState::packed};
};

template <>
class TaskOf<void> final : public Task {
 public:
  using Task::Task;
  void keep() {}
  void take() {
    if (taken_.exchange(true)) throw_no_state();
  }

 private:
  std::atomic<bool> taken_{false};
};

YOKE_API Deadline deadline_after(std::chrono::milliseconds timeout);
[[noreturn]] YOKE_API void throw_timeout(const Task& task, std::chrono::milliseconds timeout);
[[noreturn]] YOKE_API void throw_cancelled(const Task& task);
/// Runs `callback` on the callback thread once the task is resolved; what it throws goes to the error handler.
YOKE_API void when_done(Task& task, std::function<void()> callback);
/// The same on a thread that runs no callbacks of users, so that those may wait for what comes of it.
YOKE_API void hand_over_when_done(Task& task, std::function<void()> hand_over);
/// Gives what a task threw that nobody looks at to the error handler.
YOKE_API void report_detached(std::exception_ptr error) noexcept;

inline constexpr std::chrono::duration<double> too_far{100. * 365 * 24 * 3600};  // more than clocks can be sure to say
/// Of any duration, min() and max() too.
template <class Rep, class Period>
Deadline deadline_in(const std::chrono::duration<Rep, Period>& duration) {
  const std::chrono::duration<double> seconds = duration;
  if (!(seconds < too_far)) return {};
  if (seconds < seconds.zero()) return Clock::now();
  return Clock::now() + std::chrono::ceil<Clock::duration>(duration);
}
/// The same of a time.
template <class C, class D>
Deadline deadline_at(const std::chrono::time_point<C, D>& time) {
  const auto now = C::now();
  const auto left =
      std::chrono::duration<double>(time.time_since_epoch()) - std::chrono::duration<double>(now.time_since_epoch());
  return left > -too_far && left < too_far ? deadline_in(time - now) : deadline_in(left);
}

}  // namespace detail

template <class T>
class SharedFuture;

template <class T>
class Future {
 public:
  Future() = default;
  explicit Future(boost::intrusive_ptr<detail::TaskOf<T>> task) noexcept : task_(std::move(task)) {}

  /// Waits and moves the value out, or throws what the task threw. A second get() throws std::future_error(no_state).
  T get() {
    finish({});
    const auto task = std::move(task_);
    return task->take();
  }
  /// Waits and leaves the value in place; throws what the task threw. The reference lives as long as the task's
  /// handles.
  decltype(auto) result() const {
    finish({});
    return task_->keep();
  }
  /// The same with a time limit: TimeoutError when it is not done in time; the task goes on.
  decltype(auto) result(std::chrono::milliseconds timeout) const {
    finish(timeout);
    return task_->keep();
  }
  /// Waits; null if the task returned a value. Throws CancelledError if it was cancelled.
  std::exception_ptr exception() const { return exception_in({}); }
  std::exception_ptr exception(std::chrono::milliseconds timeout) const { return exception_in(timeout); }

  void wait() const { task().wait({}); }
  template <class Rep, class Period>
  std::future_status wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return wait_until_deadline(detail::deadline_in(timeout));
  }
  template <class C, class D>
  std::future_status wait_until(const std::chrono::time_point<C, D>& time) const {
    return wait_until_deadline(detail::deadline_at(time));
  }

  /// True if the task was cancelled: while no worker has started it, or, with CancelMode::kill, while it runs.
  bool cancel(CancelMode mode = CancelMode::if_not_started) const { return task().cancel(mode); }
  bool cancelled() const { return task().cancelled(); }
  bool running() const { return state() == FutureState::running; }
  bool done() const { return task().done(); }
  bool valid() const noexcept { return task_ != nullptr; }
  FutureState state() const { return task().state(); }
  /// Of the worker that ran the task; 0 before.
  int worker_pid() const { return task().worker_pid(); }

  /// Calls fn(Future<T>) on the callback thread once the task is done: callbacks of one future in the order of their
  /// registration. What fn throws goes to the error handler. fn may submit, resize and shut down. Throws
  /// std::system_error where that thread does not run yet and cannot be started; nothing is attached then.
  template <class F>
  void add_done_callback(F fn) const {
    detail::when_done(task(), [self = *this, fn = std::make_shared<F>(std::move(fn))] { (*fn)(self); });
  }

  /// Copies whose get() leaves the value in place, as those of a std::shared_future. This future is not valid() any
  /// more.
  SharedFuture<T> share() noexcept { return SharedFuture<T>(std::move(*this)); }

  /// Two futures are equal if they are of the same task; see also std::hash.
  bool operator==(const Future& other) const noexcept { return task_ == other.task_; }
  std::size_t hash() const noexcept { return std::hash<const void*>()(task_.get()); }

  /// A std::future of the same result. Its destructor does not wait.
  operator std::future<T>() && {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    detail::hand_over_when_done(task(), [promise, done = *this]() mutable {
      try {
        if constexpr (std::is_void_v<T>) {
          done.get();
          promise->set_value();
        } else {
          promise->set_value(done.get());
        }
      } catch (...) {
        promise->set_exception(std::current_exception());
      }
    });
    task_.reset();
    return future;
  }

  struct Awaiter {
    Future future;
    bool await_ready() const { return future.done(); }
    void await_suspend(std::coroutine_handle<> waiting) {
      detail::when_done(future.task(), [waiting] { waiting.resume(); });
    }
    T await_resume() { return future.get(); }
  };
  /// The coroutine goes on in the callback thread.
  Awaiter operator co_await() const { return Awaiter{*this}; }

  /// The shared state, for wait() and pools. Throws std::future_error if not valid().
  detail::TaskOf<T>& task() const {
    if (!task_) detail::throw_no_state();
    return *task_;
  }

 private:
  void await(std::optional<std::chrono::milliseconds> timeout) const {
    auto& t = task();
    if (t.done()) return;
    t.wait(timeout ? detail::deadline_after(*timeout) : Deadline());
    if (!t.done()) detail::throw_timeout(t, *timeout);
  }
  std::future_status wait_until_deadline(Deadline deadline) const {
    task().wait(deadline);
    return done() ? std::future_status::ready : std::future_status::timeout;
  }
  void finish(std::optional<std::chrono::milliseconds> timeout) const {
    await(timeout);
    if (task_->has_value()) return;
    if (task_->cancelled()) detail::throw_cancelled(*task_);
    std::rethrow_exception(task_->make_exception());
  }
  std::exception_ptr exception_in(std::optional<std::chrono::milliseconds> timeout) const {
    await(timeout);
    if (task_->cancelled()) detail::throw_cancelled(*task_);
    return task_->has_value() ? nullptr : task_->make_exception();
  }

  boost::intrusive_ptr<detail::TaskOf<T>> task_;
};

/// Made by Future::share(). Each copy, and each thread, may get() as often as it likes.
template <class T>
class SharedFuture {
 public:
  SharedFuture() = default;
  explicit SharedFuture(Future<T>&& future) noexcept : future_(std::move(future)) {}

  /// Waits; a reference to the value, which lives as long as a copy of this, or throws what the task threw.
  decltype(auto) get() const { return future_.result(); }
  void wait() const { future_.wait(); }
  template <class Rep, class Period>
  std::future_status wait_for(const std::chrono::duration<Rep, Period>& timeout) const {
    return future_.wait_for(timeout);
  }
  template <class C, class D>
  std::future_status wait_until(const std::chrono::time_point<C, D>& time) const {
    return future_.wait_until(time);
  }
  bool valid() const noexcept { return future_.valid(); }
  /// For all else: cancelling, callbacks, wait() on many. Its get() would move the value out.
  const Future<T>& future() const noexcept { return future_; }
  bool operator==(const SharedFuture&) const noexcept = default;

  // std::shared_future<int> f = pool.submit(work).share();
  operator std::shared_future<T>() && { return std::future<T>(std::move(future_)).share(); }

 private:
  Future<T> future_;
};

enum class ReturnWhen { first_completed, first_exception, all_completed };

namespace detail {

/// Watches tasks and tells which are done, in the order in which they became so. One thread at a time.
class YOKE_API CompletionQueue {
 public:
  CompletionQueue();
  ~CompletionQueue();
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;
  /// Watches one more; it is told as `index`.
  void add(TaskPtr task, std::size_t index);
  /// The index of the next task that is done; empty at the deadline, or when all have been told.
  std::optional<std::size_t> next(Deadline deadline);
  std::size_t remaining() const noexcept;

 private:
  struct Shared;
  struct Watch;
  void begin_anew();
  std::shared_ptr<Shared> shared_;
};

template <class F>
struct ResultOf;
template <class T>
struct ResultOf<Future<T>> {
  using type = T;
};

/// The futures of a range, each task once, in their order.
template <class Range>
auto unique_futures(Range&& futures) {
  using F = std::remove_cvref_t<std::ranges::range_value_t<Range>>;
  std::vector<F> unique;
  std::unordered_set<const Task*> seen;
  for (const auto& future : futures)
    if (seen.insert(&future.task()).second) unique.push_back(future);
  return unique;
}

[[noreturn]] YOKE_API void throw_unfinished(std::size_t unfinished, std::size_t all);

}  // namespace detail

/// Sorts futures into done and not done, in the order given; duplicates collapse.
template <class T>
struct WaitResult {
  std::vector<Future<T>> done, not_done;
};

/// Waits until the condition holds or the time is over. A cancelled future counts as done, and not as an exception.
template <std::ranges::input_range Range>
auto wait(Range&& futures, std::optional<std::chrono::milliseconds> timeout = {},
          ReturnWhen until = ReturnWhen::all_completed) {
  const Deadline deadline = timeout ? detail::deadline_after(*timeout) : Deadline();
  auto unique = detail::unique_futures(futures);
  detail::CompletionQueue queue;
  for (std::size_t i = 0; i < unique.size(); ++i) queue.add(TaskPtr(&unique[i].task()), i);
  const auto failed = [](const Task& task) { return task.done() && !task.has_value() && !task.cancelled(); };
  for (bool enough = unique.empty(); !enough;) {
    const auto index = queue.next(deadline);
    if (!index) break;
    enough =
        until == ReturnWhen::first_completed || (until == ReturnWhen::first_exception && failed(unique[*index].task()));
  }
  WaitResult<typename detail::ResultOf<std::ranges::range_value_t<decltype(unique)>>::type> sorted;
  for (auto& future : unique) (future.done() ? sorted.done : sorted.not_done).push_back(future);
  return sorted;
}

/// An input range of futures in the order in which they become done, each once. Iterating throws TimeoutError when the
/// time, counted from the call, is over.
template <class T>
class AsCompleted {
 public:
  AsCompleted(std::vector<Future<T>> futures, std::optional<std::chrono::milliseconds> timeout)
      : all_(futures.size()),
        futures_(std::move(futures)),
        queue_(std::make_unique<detail::CompletionQueue>()),
        deadline_(timeout ? detail::deadline_after(*timeout) : Deadline()) {
    for (std::size_t i = 0; i < all_; ++i) queue_->add(TaskPtr(&futures_[i].task()), i);
  }

  class iterator {
   public:
    using value_type = Future<T>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() = default;
    explicit iterator(AsCompleted* range) : range_(range) { ++*this; }
    Future<T> operator*() const { return std::move(range_->current_); }
    iterator& operator++() {
      if (!range_->advance()) range_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return range_ == nullptr; }

   private:
    AsCompleted* range_ = nullptr;
  };
  /// Throws std::future_error(no_state) if the range was moved from.
  iterator begin() {
    if (!queue_) detail::throw_no_state();
    return iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

 private:
  bool advance() {
    current_ = Future<T>();
    if (queue_->remaining() == 0) return false;
    const auto index = queue_->next(deadline_);
    if (!index) detail::throw_unfinished(queue_->remaining(), all_);
    current_ = std::move(futures_[*index]);  // not kept alive by the range once it is handed out
    return true;
  }

  std::size_t all_;
  std::vector<Future<T>> futures_;
  std::unique_ptr<detail::CompletionQueue> queue_;
  Deadline deadline_;
  Future<T> current_;
};

template <std::ranges::input_range Range>
auto as_completed(Range&& futures, std::optional<std::chrono::milliseconds> timeout = {}) {
  auto unique = detail::unique_futures(futures);
  using F = std::ranges::range_value_t<decltype(unique)>;
  return AsCompleted<typename detail::ResultOf<F>::type>(std::move(unique), timeout);
}

/// Takes what callbacks throw; the default prints it to stderr. Called on the callback thread. Null restores the
/// default.
YOKE_API void set_error_handler(std::function<void(std::exception_ptr)> handler);

}  // namespace yoke

/// So that futures can be keys: `sizes[future]`, for one that as_completed() yields.
template <class T>
struct std::hash<yoke::Future<T>> {
  std::size_t operator()(const yoke::Future<T>& future) const noexcept { return future.hash(); }
};
template <class T>
struct std::hash<yoke::SharedFuture<T>> {
  std::size_t operator()(const yoke::SharedFuture<T>& future) const noexcept { return future.future().hash(); }
};
