// The compiled half of Future, wait and as_completed.
#include "yoke/future.hpp"

#include <fmt/format.h>

#include <deque>
#include <mutex>
#include <unordered_map>

#include "lib/executor/callback_thread.hpp"
#include "lib/system/fork_guard.hpp"
#include "lib/system/futex.hpp"

namespace yoke::detail {

Deadline deadline_after(std::chrono::milliseconds timeout) {
  return deadline_in(std::max(timeout, std::chrono::milliseconds(0)));
}

void throw_timeout(const Task& task, std::chrono::milliseconds timeout) {
  throw TimeoutError(fmt::format("task '{}' was not done within {} ms; it goes on", task.name(), timeout.count()));
}

void throw_no_state() { throw std::future_error(std::future_errc::no_state); }

ResultState begin_unpacking(std::atomic<ResultState>& state) {
  // Of this process: who was unpacking when it was forked is not here.
  const auto busy =
      static_cast<ResultState>(static_cast<std::uint32_t>(ResultState::busy) | system::fork_generation() << 2);
  for (ResultState seen = ResultState::packed;;) {
    if (seen == ResultState::kept) return seen;
    if (seen == ResultState::taken) throw_no_state();
    if (seen == busy) {
      state.wait(busy, std::memory_order_acquire);  // another thread unpacks
      seen = state.load(std::memory_order_acquire);
    } else if (state.compare_exchange_strong(seen, busy, std::memory_order_acquire)) {
      return ResultState::busy;
    }
  }
}

void end_unpacking(std::atomic<ResultState>& state, ResultState now) noexcept {
  state.store(now, std::memory_order_release);
  state.notify_all();
}

void throw_cancelled(const Task& task) { throw CancelledError(fmt::format("task '{}' was cancelled", task.name())); }

void throw_unfinished(std::size_t unfinished, std::size_t all) {
  throw TimeoutError(fmt::format("{} (of {}) futures unfinished", unfinished, all));
}

void when_done(Task& task, std::function<void()> callback) {
  struct Callback final : Task::Continuation {
    explicit Callback(std::function<void()> f) : Continuation(false), function(std::move(f)) {}
    void run(Task&) override { function(); }
    std::function<void()> function;
  };
  require_callback_thread();
  task.add_continuation(std::make_unique<Callback>(std::move(callback)));
}

void hand_over_when_done(Task& task, std::function<void()> hand_over) {
  struct HandOver final : Task::Continuation {
    explicit HandOver(std::function<void()> f) : Continuation(true), function(std::move(f)) {}
    void run(Task&) override {
      try {
        post_hand_over(std::move(function));
      } catch (...) {  // no memory for it
        report_error(std::current_exception());
      }
    }
    std::function<void()> function;
  };
  require_hand_over_thread();
  task.add_continuation(std::make_unique<HandOver>(std::move(hand_over)));
}

void report_detached(std::exception_ptr error) noexcept { report_error(std::move(error), "a detached task failed"); }

/// Filled by the threads that resolve tasks, emptied by the one that waits.
struct CompletionQueue::Shared {
  std::mutex mutex;
  std::deque<std::size_t> done;  // guarded by mutex
  std::atomic<std::uint32_t> count{0};
  struct Entry {
    TaskPtr task;
    const Task::Continuation* watch;
  };
  std::unordered_map<std::size_t, Entry> watched;  // of the waiting thread alone; those not yet told
  std::size_t remaining = 0;
  const unsigned generation = system::fork_generation();
};

struct CompletionQueue::Watch final : Task::Continuation {
  Watch(std::shared_ptr<Shared> s, std::size_t i) : Continuation(true), shared(std::move(s)), index(i) {}
  void run(Task&) override {
    {
      const std::lock_guard lock(shared->mutex);
      shared->done.push_back(index);
    }
    shared->count.fetch_add(1, std::memory_order_release);
    system::futex_wake(shared->count, 1, system::Sharing::process_private);
  }
  std::shared_ptr<Shared> shared;
  std::size_t index;
};

CompletionQueue::CompletionQueue() : shared_(std::make_shared<Shared>()) {}

CompletionQueue::~CompletionQueue() {
  if (shared_->generation != system::fork_generation()) begin_anew();
  for (auto& [index, entry] : shared_->watched) entry.task->remove_continuation(entry.watch);
}

void CompletionQueue::add(TaskPtr task, std::size_t index) {
  ++shared_->remaining;
  auto watch = std::make_unique<Watch>(shared_, index);
  const Task::Continuation* address = watch.get();
  Task& watched = *task;
  shared_->watched.emplace(index, Shared::Entry{std::move(task), address});
  watched.add_continuation(std::move(watch));
}

/// In a fork: what other threads of the parent wrote to, the lock too, is left as it was, and never destroyed.
void CompletionQueue::begin_anew() {
  const auto& before = **new std::shared_ptr<Shared>(std::exchange(shared_, std::make_shared<Shared>()));
  for (const auto& [index, entry] : before.watched) {
    entry.task->remove_continuation(entry.watch);
    add(entry.task, index);
  }
}

std::optional<std::size_t> CompletionQueue::next(Deadline deadline) {
  if (shared_->generation != system::fork_generation()) begin_anew();
  if (shared_->remaining == 0) return std::nullopt;
  for (;;) {
    const std::uint32_t seen = shared_->count.load(std::memory_order_acquire);
    {
      const std::lock_guard lock(shared_->mutex);
      if (!shared_->done.empty()) {
        const std::size_t index = shared_->done.front();
        shared_->done.pop_front();
        shared_->watched.erase(index);
        --shared_->remaining;
        return index;
      }
    }
    if (deadline && Clock::now() >= *deadline) return std::nullopt;
    system::futex_wait(shared_->count, seen, system::Sharing::process_private, deadline);
  }
}

std::size_t CompletionQueue::remaining() const noexcept { return shared_->remaining; }

}  // namespace yoke::detail
