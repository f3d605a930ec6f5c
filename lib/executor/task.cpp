// Task: the state that futures share with a pool, and its one change.
#include <array>
#include <mutex>

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/failure.hpp"
#include "lib/system/block_memory.hpp"
#include "lib/system/fork_guard.hpp"
#include "lib/system/futex.hpp"
#include "lib/system/symbols.hpp"
#include "yoke/error.hpp"
#include "yoke/future.hpp"
#include "yoke/map.hpp"
#include "yoke/pool.hpp"

namespace yoke {
namespace {

using ContinuationLocks = std::array<std::mutex, 8>;  // few, as a fork holds them all
ContinuationLocks& continuation_locks() {
  static auto* const locks = [] {
    auto* const made = new ContinuationLocks;
    for (std::mutex& lock : *made) system::hold_over_forks(system::ForkOrder::continuations, lock);
    return made;
  }();
  return *locks;
}
[[maybe_unused]] const ContinuationLocks& made_at_load = continuation_locks();

/// Guards the continuations of the tasks that share the slot.
std::mutex& continuation_lock(const Task* task) {
  ContinuationLocks& locks = continuation_locks();
  return locks[(reinterpret_cast<std::uintptr_t>(task) >> 6) % locks.size()];
}

const TaskOptions& no_options() {
  static const auto* options = new TaskOptions;  // never destroyed, as tasks may outlive static objects
  return *options;
}
[[maybe_unused]] const TaskOptions& options_made_at_load = no_options();

constexpr char forked[] = "this process was forked from the one that made the pool: make a pool of its own";

}  // namespace

Failure::~Failure() = default;

Pool::Pool() : generation_(system::fork_generation()) {}
Pool::Pool(Reducers job_reducers, Reducers result_reducers)
    : generation_(system::fork_generation()),
      job_reducers_(std::move(job_reducers)),
      result_reducers_(std::move(result_reducers)) {}
Pool::~Pool() = default;
void Pool::wait(const Task& task, Deadline deadline) { task.sleep_until_done(deadline); }
bool Pool::in_other_process() const noexcept { return generation_ != system::fork_generation(); }
void Pool::check_process() const {
  if (in_other_process()) throw BrokenProcessPool(forked);
}

void Pool::set_paused(bool) {
  throw Error("this pool cannot be paused: pools of worker processes on this machine can");
}
Task::Continuation::~Continuation() = default;

const char* to_string(FutureState state) noexcept {
  switch (state) {
    case FutureState::pending: return "pending";
    case FutureState::running: return "running";
    case FutureState::cancelled: return "cancelled";
    case FutureState::finished: return "finished";
  }
  return "unknown";
}

Task::Task(const Callable& callable, const void* target, Bytes arguments)
    : callable_(&callable), target_(target), data_(std::move(arguments)) {}

void* Task::operator new(std::size_t size) { return system::take_block(size); }
void Task::operator delete(void* memory, std::size_t size) noexcept { system::give_back_block(memory, size); }

Task::~Task() {
  // one by one: a long chain would otherwise be destroyed by recursion
  while (continuations_) continuations_ = std::move(continuations_->next);
}

const TaskOptions& Task::default_options() noexcept { return no_options(); }

std::string Task::name() const {
  if (options_ && !options_->name.empty()) return options_->name;
  if (target_) {
    if (auto name = system::function_name(target_); !name.empty()) return name;
  }
  return system::demangle(callable_->type->name());
}

/// In a fork: what the pool had not done by then is lost here. The parent's callbacks are the parent's to call: they
/// are not even destroyed.
bool Task::left_behind() const noexcept {
  if (!pool_ || !pool_->in_other_process()) return false;
  const std::lock_guard lock(continuation_lock(this));
  if ((state_.load(std::memory_order_relaxed) & phase_mask) < phase_value) {
    static_cast<void>(continuations_.release());
    last_continuation_ = nullptr;
    state_.store(phase_lost, std::memory_order_release);
  }
  return true;
}

bool Task::claim() noexcept {
  std::uint32_t seen = state_.load(std::memory_order_relaxed);
  do {
    if ((seen & phase_mask) != phase_pending) return false;
  } while (!state_.compare_exchange_weak(seen, seen | phase_resolving, std::memory_order_acquire));
  return true;
}

void Task::publish(std::uint32_t phase) noexcept {
  static_assert(phase_pending == 0 && phase_resolving == 1);
  // Nobody but the claimer changes the phase; the other bits may be set meanwhile.
  const std::uint32_t before = state_.fetch_add(phase - phase_resolving, std::memory_order_acq_rel);
  if (before & waited_bit) system::futex_wake(state_, INT32_MAX, system::Sharing::process_private);
  if ((before & continued_bit) == 0) return;
  const TaskPtr alive(this);  // a continuation may drop the last handle
  run_continuations();
}

bool Task::resolve(Outcome&& outcome) noexcept {
  if (!claim()) return false;
  data_ = std::move(outcome.bytes);
  failure_ = std::move(outcome.failure);
  publish(outcome.kind == Outcome::Kind::value       ? phase_value
          : outcome.kind == Outcome::Kind::exception ? phase_exception
                                                     : phase_failure);
  return true;
}

bool Task::resolve_cancelled() noexcept {
  if (!claim()) return false;
  data_.clear();
  publish(phase_cancelled);
  return true;
}

Outcome Task::outcome() const {
  const std::uint32_t phase = state_.load(std::memory_order_acquire) & phase_mask;
  if (phase == phase_lost) return pool::failed(std::make_shared<pool::TextFailure<BrokenProcessPool>>(forked));
  const auto kind = phase == phase_value       ? Outcome::Kind::value
                    : phase == phase_exception ? Outcome::Kind::exception
                                               : Outcome::Kind::failure;
  return {kind, data_, failure_};
}

std::optional<std::uint32_t> Task::mark_waited() const noexcept {
  const std::uint32_t seen = state_.fetch_or(waited_bit, std::memory_order_acq_rel) | waited_bit;
  if ((seen & phase_mask) >= phase_value) return std::nullopt;
  return seen;
}

void Task::sleep_until_done(Deadline deadline) const noexcept {
  while (const auto expected = mark_waited()) {
    system::futex_wait(state_, *expected, system::Sharing::process_private, deadline);
    if (deadline && Clock::now() >= *deadline) return;
  }
}

void Task::wait(Deadline deadline) const {
  while (!done()) {
    if (pool_)
      pool_->wait(*this, deadline);
    else
      sleep_until_done(deadline);
    if (deadline && Clock::now() >= *deadline) return;
  }
  if ((state_.load(std::memory_order_acquire) & phase_mask) == phase_lost) throw BrokenProcessPool(forked);
}

FutureState Task::state() const {
  static_cast<void>(done());  // in a fork it is by now
  const std::uint32_t phase = state_.load(std::memory_order_acquire) & phase_mask;
  if (phase == phase_cancelled) return FutureState::cancelled;
  if (phase >= phase_value) return FutureState::finished;
  return pool_ && pool_->running(*this) ? FutureState::running : FutureState::pending;
}

bool Task::cancel(CancelMode mode) {
  if (done()) return false;
  return pool_ ? pool_->cancel(*this, mode) : resolve_cancelled();
}

std::exception_ptr Task::make_exception() const {
  const std::uint32_t phase = state_.load(std::memory_order_acquire) & phase_mask;
  if (phase == phase_lost) return pool::TextFailure<BrokenProcessPool>(forked).make(name());
  if (phase == phase_failure) return failure_->make(name());
  return detail::unpack_exception(data_.view(), worker_pid(), name());
}

void Task::add_continuation(std::unique_ptr<Continuation> continuation) {
  static_cast<void>(done());  // in a fork it is by now
  {
    const std::lock_guard lock(continuation_lock(this));
    const std::uint32_t seen = state_.fetch_or(continued_bit, std::memory_order_acq_rel);
    // Once resolved, whoever publishes has seen either the bit or nothing to run.
    continuation->before = last_continuation_;
    auto& place = last_continuation_ ? last_continuation_->next : continuations_;
    last_continuation_ = continuation.get();
    place = std::move(continuation);
    if ((seen & phase_mask) < phase_value) return;
  }
  run_continuations();
}

bool Task::remove_continuation(const Continuation* continuation) {
  std::unique_ptr<Continuation> removed;
  const std::lock_guard lock(continuation_lock(this));
  // From the last one, which is mostly it. Whether it is still there is not to be asked of itself: it may be gone.
  for (auto* at = last_continuation_; at; at = at->before) {
    if (at != continuation) continue;
    auto& place = at->before ? at->before->next : continuations_;
    removed = std::move(place);
    place = std::move(removed->next);
    (place ? place->before : last_continuation_) = removed->before;
    return true;
  }
  return false;
}

void Task::run_continuations() noexcept {
  std::unique_ptr<Continuation> own;  // those that run inline
  std::exception_ptr trouble;
  {
    // Handed over under the lock: what is added meanwhile must not overtake what was added before.
    const std::lock_guard lock(continuation_lock(this));
    std::unique_ptr<Continuation>* last = &own;
    last_continuation_ = nullptr;
    while (auto first = std::move(continuations_)) {
      continuations_ = std::move(first->next);
      if (first->runs_inline) {
        *last = std::move(first);
        last = &(*last)->next;
        continue;
      }
      try {
        post_callback(
            [task = TaskPtr(this), job = std::shared_ptr<Continuation>(std::move(first))] { job->run(*task); });
      } catch (...) {  // no memory for it
        trouble = std::current_exception();
      }
    }
  }
  if (trouble) report_error(trouble);
  for (; own; own = std::move(own->next)) own->run(*this);
}

}  // namespace yoke
