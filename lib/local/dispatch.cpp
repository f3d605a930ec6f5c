// Dispatch: tasks to workers, by the scheduler's rules, and taken back from them.
#include <algorithm>
#include <utility>

#include "lib/local/local_pool.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/wire/function_table.hpp"

namespace yoke::local {
namespace {

using pool::failed;
using pool::TextFailure;

constexpr std::size_t most_ahead = channel::slot_count - 1;

}  // namespace

scheduler::Load LocalPool::load() const { return {run_times_.mean_ns(), backlog_.size(), roster_.size()}; }

scheduler::Limits LocalPool::limits() const {
  scheduler::Limits limits;
  limits.depth = scheduler::depth(load(), most_ahead);
  limits.most_awake = scheduler::most_awake(load());
  limits.max_workers = static_cast<std::size_t>(max_workers_);
  if (options_.max_tasks_per_worker)
    limits.tasks_per_worker = static_cast<std::uint64_t>(*options_.max_tasks_per_worker);
  return limits;
}

/// Into the worker's channel. False if the task has to wait; throws if it cannot be handed over at all.
bool LocalPool::push(Worker& worker, Task& task) {
  using Push = channel::ParentChannel::Push;
  wire::FunctionReference function = task.callable().token.load(std::memory_order_relaxed);
  if (function == 0) {
    function = wire::refer_to(reinterpret_cast<const void*>(task.callable().trampoline));
    const_cast<Callable&>(task.callable()).token.store(function, std::memory_order_relaxed);
  }
  const wire::FunctionReference target = task.target() ? wire::refer_to(task.target()) : 0;
  const std::uint64_t position = worker.channel.next_position();
  const auto first_item = histories_.empty() ? 0 : static_cast<std::uint32_t>(histories_.next_item(task));
  switch (worker.channel.push(task, function, target, 0, first_item)) {
    case Push::full: return false;
    case Push::outdated: retire(worker); return false;
    case Push::lack:
      if (!shortage_.met(Clock::now()))
        throw Error("its arguments could not be handed to a worker: this user has too many descriptors on their way");
      sleep_.wake_by(*shortage_.again_at());
      return false;
    case Push::broken:
      if (worker.process.dying_or_dead())
        sleep_.wake();  // nothing to reproach it with
      else
        kill(worker, KillReason::misbehaved, "it did not read what it was sent, and was killed");
      return false;
    case Push::done: break;
  }
  shortage_.over();
  task.pool_word = Roster::word_for(worker, position);
  return true;
}

/// True if the task has left the backlog: given to the worker, or failed for good.
bool LocalPool::give(Worker& worker, Task& task) {
  try {
    if (!push(worker, task)) return false;
  } catch (const std::exception& error) {  // no code of a module, no memory for a large argument
    histories_.forget(task);
    fail_task(task, std::make_shared<TextFailure<Error>>(error.what()));
    return true;
  }
  YOKE_FAULT_POINT(after_dispatch, worker.pid());
  worker.task_given();
  if (options_.max_tasks_per_worker && worker.given() >= static_cast<std::uint64_t>(*options_.max_tasks_per_worker))
    retire(worker);
  if (task.has_options() && task.options().timeout) {
    const auto due = time_after(Clock::now(), *task.options().timeout);
    worker.look_by(due);
    sleep_.wake_by(due);
  }
  return true;
}

/// A worker that had to be woken takes its time, perhaps on the very processor where its waiter would spin.
void LocalPool::ring(Worker& worker) {
  if (worker.channel.ring()) just_woken_.store(true, std::memory_order_relaxed);
}

/// Gives waiting tasks to workers with room, and wakes each of them once.
void LocalPool::dispatch() {
  if (options_.spare_workers != 0) promote_reserves();
  shortage_.begin_try();
  Worker* last = nullptr;
  const scheduler::Limits limits = this->limits();
  while (Task* task = backlog_.front()) {
    if (admission_.broken() || paused_) break;
    const auto choice = scheduler::choose_worker(roster_.all(), roster_.preferred(), limits);
    if (!choice) break;
    if (choice->awake) roster_.prefer(choice->index);
    Worker* const worker = &roster_[choice->index];
    if (last && last != worker) ring(*last);
    last = worker;
    if (!worker->watched) sleep_.wake();
    if (!give(*worker, *task)) {
      if (shortage_.again_at()) break;  // others lack the same
      worker->found_full();             // others may have room
      continue;
    }
    backlog_.pop();
    may_be_imbalanced_ |= worker->outstanding() > 1 || worker->holds_up_tasks();
  }
  if (last) {
    ring(*last);
    sleep_.disturb();  // so that it looks whether the worker begins
  }
  ask_for_worker();
  if (std::exchange(may_be_imbalanced_, false) && !balance_is_watched_ && imbalanced()) {
    balance_is_watched_ = true;
    sleep_.wake_by(Clock::now() + 2 * scheduler::slow_after);
  }
}

/// Takes back what a worker has not started, from that position on: to the front of the backlog, in order.
void LocalPool::take_back_unstarted(Worker& worker, std::uint64_t from) {
  std::deque<TaskPtr> tasks;
  channel::ParentChannel& channel = worker.channel;
  const auto first = channel.oldest_position();
  // from the last to the first, so that the worker does not start one of them meanwhile and run out of order
  for (std::uint64_t position = channel.next_position(); position-- > std::max(from, channel.first_uncollected());) {
    TaskPtr task = channel.task_at(position);
    if (!task || worker.is_initializer(task)) continue;
    // What was seen to run is not taken back, whatever its slot says now.
    if (worker.progress.of(position) && !worker.progress.unbegun()) continue;
    if (!channel.revoke(position)) continue;
    if (position == first) note_unbegun(worker, *task, position);
    tasks.push_front(std::move(task));
  }
  worker.tasks_taken_back(tasks.size());
  requeue(std::move(tasks));
}

/// Where a task with a time limit is the first in line again and again, and never begun, the limit counts from the
/// first time. And the worker, which may be running it all the same, is asked to leave and has no longer for that:
/// whatever else the worker were given would be hit.
void LocalPool::note_unbegun(Worker& worker, const Task& task, std::uint64_t position) {
  const Progress& progress = worker.progress;
  if (!worker.is_ready() || !progress.of(position) || !progress.unbegun() || !task.options().timeout) return;
  auto& first_in_line = histories_.of(task).first_in_line;
  first_in_line = std::min(first_in_line.value_or(progress.first_since()), progress.first_since());
  const auto end = time_after(time_after(*first_in_line, *task.options().timeout), options_.kill_grace);
  if (!worker.is_in_service()) return;
  retire(worker);
  worker.kill_at(end);
}

/// Takes back the first in line, from a worker that is to be ended for the sake of that task. Those behind it go
/// before: the moment that it is gone, the worker would begin one of them, and that would be hit.
bool LocalPool::take_back_first(Worker& worker, std::uint64_t first) {
  take_back_unstarted(worker, first + 1);
  return worker.channel.revoke(first);
}

/// Leaves a worker that is to be ended for the sake of its task that task alone, so that no other is hit. False if the
/// task has ended meanwhile: then the worker may already run another.
bool LocalPool::isolate(Worker& worker, const Task& task) {
  take_back_unstarted(worker);
  collect_from(worker);
  return roster_.holder_of(task) == &worker;
}

void LocalPool::requeue(std::deque<TaskPtr> tasks) {
  for (auto it = tasks.rbegin(); it != tasks.rend(); ++it) {
    (*it)->pool_word = 0;
    if (!(*it)->done()) backlog_.push_front(std::move(*it));  // shutdown may have failed it
  }
}

bool LocalPool::imbalanced() const {
  const bool may_start_another =
      !launch_retries_.pauses() && scheduler::active(roster_.all()) < static_cast<std::size_t>(max_workers_);
  return scheduler::is_imbalanced(roster_.all(), may_start_another);
}

/// Where a task has turned out slow, those behind it go to the free workers.
void LocalPool::rebalance(Clock::time_point now) {
  if (!imbalanced()) return;
  const bool someone_is_free =
      std::ranges::any_of(roster_, [](const auto& worker) { return scheduler::is_free(*worker); });
  for (const auto& worker : roster_) {
    if (worker->holds_up_tasks() && (worker->hangs() || someone_is_free)) {
      take_back_unstarted(*worker);
      continue;
    }
    if (worker->outstanding() < 2 || worker->is_killed()) continue;
    const auto oldest = worker->channel.oldest_position();
    if (!oldest || !worker->channel.started(*oldest)) continue;
    note_progress(*worker, now);
    const Clock::time_point started = start_of_first(*worker);  // a worker that was stopped may not tell it
    if (now - started < scheduler::slow_after) continue;
    run_times_.raise_to(static_cast<double>((now - started).count()));
    worker->found_slow();
    take_back_unstarted(*worker);
  }
  dispatch();
}

}  // namespace yoke::local
