// Dispatch: which worker gets which task, how many it gets ahead, and taking tasks back.
//
// A task never waits behind a long one while another worker could run it. So a worker is given many tasks at once only
// when tasks are known to be short; and when a worker turns out to be slow, what it has not started is taken back.
#include <algorithm>
#include <utility>

#include "lib/pool/local_pool.hpp"
#include "lib/system/environment.hpp"
#include "lib/system/fault_point.hpp"

namespace yoke::pool {
namespace {

constexpr double ahead_ns = 50'000;                   // work that a worker is given at once
constexpr double most_ahead_ns = 2'000'000;           // the same, while more waits than all could be given
constexpr std::chrono::microseconds slow_after{500};  // a task that runs longer keeps no others waiting
constexpr double handling_ns = 400;                   // what a task costs this process, about
constexpr std::size_t most_ahead = channel::slot_count - 1;
constexpr std::chrono::milliseconds try_again{10};
constexpr std::chrono::seconds patience_with_lack{20};

}  // namespace

/// How many tasks a worker may have at once.
std::size_t LocalPool::depth() const {
  if (mean_task_ns_ <= 0) return 1;
  double ns = ahead_ns;
  // A share of what waits that leaves as much to come: so nobody has much left when the others are through.
  const double waiting_ns = static_cast<double>(backlog_.size()) * mean_task_ns_;
  const double shares = 2.0 * static_cast<double>(workers_.size() + 1);
  if (waiting_ns > ns * shares) ns = std::min(most_ahead_ns, waiting_ns / shares);
  if (ns < 2 * mean_task_ns_) return 1;
  return ns < static_cast<double>(most_ahead) * mean_task_ns_ ? static_cast<std::size_t>(ns / mean_task_ns_)
                                                              : most_ahead;
}

/// How many workers this process can keep busy: waking more for short tasks makes all slower.
std::size_t LocalPool::most_awake() const {
  return mean_task_ns_ <= 0 ? workers_.size() : 1 + static_cast<std::size_t>(mean_task_ns_ / handling_ns);
}

bool LocalPool::room_for_more(const Worker& worker, std::size_t limit) const {
  if (!worker.takes_tasks() || worker.hangs || worker.full || worker.outstanding() >= limit) return false;
  return !options_.max_tasks_per_worker || worker.given < static_cast<std::uint64_t>(*options_.max_tasks_per_worker);
}

/// The worker for the next task; null if none has room for more than `limit` at once. The one that was given the last
/// task goes first: it is awake.
Worker* LocalPool::choose_worker(std::size_t limit) {
  const std::size_t n = workers_.size();
  std::size_t awake = 0;
  Worker* sleeping = nullptr;
  Worker* starting = nullptr;  // may yet hang: what it is given may be taken back
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t index = (preferred_ + i) % n;
    Worker& worker = *workers_[index];
    if (worker.slow) continue;
    if (worker.takes_tasks() && worker.was_ready && !worker.hangs && !worker.idle()) ++awake;
    if (!room_for_more(worker, limit)) continue;
    if (!worker.was_ready) {
      if (!starting) starting = &worker;
      continue;
    }
    if (i == 0 || !worker.idle()) {
      preferred_ = index;
      return &worker;
    }
    if (!sleeping) sleeping = &worker;
  }
  if (sleeping) return awake < most_awake() ? sleeping : nullptr;
  if (starting || limit > 1) return starting;
  // Long tasks, everyone busy: one ahead spares the pause between two, once no further worker is to be had.
  if (staff() < static_cast<std::size_t>(max_workers_)) return nullptr;
  for (const auto& worker : workers_)
    if (room_for_more(*worker, 2)) return worker.get();
  return nullptr;
}

/// Where a chunk goes on.
std::uint32_t LocalPool::first_item(const Task& task) const {
  const auto past = history_of_.find(&task);
  if (past == history_of_.end() || !past->second.parts) return 0;
  return static_cast<std::uint32_t>(past->second.parts->next());
}

/// Something that a task needs is not to be had now: it is tried again, for some time.
bool LocalPool::waits_for_what_lacks() {
  const auto now = Clock::now();
  if (!lacks_since_) lacks_since_ = now;
  if (now - *lacks_since_ >= patience_with_lack) return false;
  dispatches_again_at_ = now + try_again;
  watch_at_latest(*dispatches_again_at_);
  return true;
}

/// True if the task has left the backlog: given to the worker, or failed for good.
bool LocalPool::give(Worker& worker, Task& task) {
  wire::FunctionReference function = task.callable().token.load(std::memory_order_relaxed);
  wire::FunctionReference target = 0;
  try {
    if (function == 0) {
      function = wire::refer_to(reinterpret_cast<const void*>(task.callable().trampoline));
      const_cast<Callable&>(task.callable()).token.store(function, std::memory_order_relaxed);
    }
    if (task.target()) target = wire::refer_to(task.target());
    const std::uint64_t position = worker.channel.next_position();
    switch (worker.channel.push(task, function, target, 0, history_of_.empty() ? 0 : first_item(task))) {
      case channel::ParentChannel::Push::full: return false;
      case channel::ParentChannel::Push::outdated: ask_to_leave(worker); return false;
      case channel::ParentChannel::Push::lack:
        if (waits_for_what_lacks()) return false;
        throw Error("its arguments could not be handed to a worker: this user has too many descriptors on their way");
      case channel::ParentChannel::Push::broken:
        if (worker.process.dying_or_dead())
          wake_watchdog();  // nothing to reproach it with
        else
          doom(worker, Doom::misbehaved, "it did not read what it was sent, and was killed");
        return false;
      case channel::ParentChannel::Push::done: break;
    }
    lacks_since_.reset();
    task.pool_word = static_cast<std::uint64_t>(worker.rank + 1) << 48 | (position & 0xffff'ffff'ffff);
  } catch (const std::exception& error) {  // no code of a module, no memory for a large argument
    ++counts_.failed;
    history_of_.erase(&task);
    task.resolve(failed(std::make_shared<TextFailure<Error>>(error.what())));
    return true;
  }
  YOKE_FAULT_POINT(after_dispatch, worker.process.pid());
  ++worker.given;
  if (options_.max_tasks_per_worker && worker.given >= static_cast<std::uint64_t>(*options_.max_tasks_per_worker))
    ask_to_leave(worker);
  if (task.has_options() && task.options().timeout) {
    const auto due = time_after(Clock::now(), *task.options().timeout);
    worker.look_at = std::min(worker.look_at.value_or(due), due);
    watch_at_latest(due);
  }
  return true;
}

/// A worker that had to be woken takes its time, perhaps on the very processor where its waiter would spin.
void LocalPool::ring(Worker& worker) {
  if (worker.channel.ring()) just_woken_.store(true, std::memory_order_relaxed);
}

/// Gives waiting tasks to workers with room, and wakes each of them once.
void LocalPool::dispatch() {
  if (options_.spare_workers != 0) fill_from_spares();
  dispatches_again_at_.reset();
  Worker* last = nullptr;
  const std::size_t limit = depth();
  while (Task* task = backlog_.front()) {
    Worker* worker = broken_ || paused_ ? nullptr : choose_worker(limit);
    if (!worker) break;
    if (last && last != worker) ring(*last);
    last = worker;
    if (!worker->watched) wake_watchdog();
    if (!give(*worker, *task)) {
      if (dispatches_again_at_) break;  // others lack the same
      worker->full = true;  // others may have room
      continue;
    }
    backlog_.pop();
    may_be_imbalanced_ |= worker->outstanding() > 1 || worker->holds_up_tasks();
  }
  if (last) {
    ring(*last);
    if (std::exchange(watchdog_rests_, false)) wake_watchdog();  // so that it looks whether the worker begins
  }
  ask_for_worker();
  if (std::exchange(may_be_imbalanced_, false) && !balance_is_watched_ && imbalanced()) {
    balance_is_watched_ = true;
    watch_at_latest(Clock::now() + 2 * slow_after);
  }
}

/// A further worker should take tasks: some wait for one.
bool LocalPool::needs_worker() {
  if (broken_ || killing_ || fully_staffed_) return false;
  if (staff() >= static_cast<std::size_t>(max_workers_)) {
    fully_staffed_ =
        std::ranges::count_if(workers_, [](const auto& worker) { return worker->takes_tasks(); }) >= max_workers_;
    return false;
  }
  if (options_.spawn_eagerly && accepting_) return true;
  std::size_t starting = 0;
  for (const auto& worker : workers_)
    if (worker->takes_tasks() && !worker->hangs && (!worker->was_ready || worker->initializer)) ++starting;
  return backlog_.size() > starting && !backlog_.empty();
}

/// A further process should start: for tasks that wait, or to be at hand.
bool LocalPool::wants_worker() {
  if (next_start_) return false;
  if (needs_worker()) return true;
  return options_.spare_workers != 0 && spares() < static_cast<std::size_t>(options_.spare_workers) && staff() != 0 &&
         accepting_ && !broken_;
}

/// Of the watchdog. The worker will have the environment of the call that found it missing.
void LocalPool::ask_for_worker() {
  if (!wants_worker()) {
    worker_is_wanted_ = false;
    return;
  }
  if (!worker_is_wanted_ && !system::on_own_thread()) {
    system::look_at_environment();
    worker_is_wanted_ = true;
  }
  wake_watchdog();
}

/// Spare workers that are ready take the places that are free: without the time that a start takes.
void LocalPool::fill_from_spares() {
  for (const auto& worker : workers_) {
    if (!worker->spare || worker->mode != WorkerMode::serving || !worker->was_ready || worker->initializer) continue;
    if (!needs_worker()) return;
    worker->rank = lowest_free_rank(0, worker.get());
    worker->channel.set_rank(worker->rank);
    worker->idle_since = Clock::now();
    worker->spare = false;
  }
}

/// Takes back what a worker has not started, from that position on: to the front of the backlog, in order.
void LocalPool::take_back_unstarted(Worker& worker, std::uint64_t from) {
  std::deque<TaskPtr> tasks;
  worker.full = false;
  channel::ParentChannel& channel = worker.channel;
  const auto first = channel.oldest_position();
  // from the last to the first, so that the worker does not start one of them meanwhile and run out of order
  for (std::uint64_t position = channel.next_position(); position-- > std::max(from, channel.first_uncollected());) {
    TaskPtr task = channel.task_at(position);
    if (!task || task == worker.initializer) continue;
    // What was seen to run is not taken back, whatever its slot says now.
    if (worker.progress.of(position) && !worker.progress.unbegun()) continue;
    if (!channel.revoke(position)) continue;
    if (position == first) note_unbegun(worker, *task, position);
    tasks.push_front(std::move(task));
  }
  worker.given -= tasks.size();
  requeue(std::move(tasks));
}

/// Where a task with a time limit is the first in line again and again, and never begun, the limit counts from the
/// first time. And the worker, which may be running it all the same, is asked to leave and has no longer for that:
/// whatever else it were given would be hit.
void LocalPool::note_unbegun(Worker& worker, const Task& task, std::uint64_t position) {
  const Progress& progress = worker.progress;
  if (!worker.was_ready || !progress.of(position) || !progress.unbegun() || !task.options().timeout) return;
  auto& first_in_line = history_of_[&task].first_in_line;
  first_in_line = std::min(first_in_line.value_or(progress.first_since()), progress.first_since());
  const auto end = time_after(time_after(*first_in_line, *task.options().timeout), options_.kill_grace);
  if (worker.mode != WorkerMode::serving) return;
  ask_to_leave(worker);
  worker.kill_at = end;
}

/// Takes back the first in line, from a worker that is to be ended for its sake. Those behind it go before: the moment
/// that it is gone, the worker would begin one of them, and that would be hit.
bool LocalPool::take_back_first(Worker& worker, std::uint64_t first) {
  take_back_unstarted(worker, first + 1);
  return worker.channel.revoke(first);
}

/// Leaves a worker that is to be ended for the sake of its task that task alone, so that no other is hit. False if it
/// has ended meanwhile: then the worker may already run another.
bool LocalPool::left_alone(Worker& worker, const Task& task) {
  take_back_unstarted(worker);
  collect_from(worker);
  return worker_of(task) == &worker;
}

/// Tasks wait behind a running one, or for a worker that hangs, although another worker is idle or could be started; or
/// for one that starts up, although another is ready and idle.
bool LocalPool::imbalanced() const {
  bool someone_free = staff() < static_cast<std::size_t>(max_workers_) && !next_start_;
  bool someone_ready = false;
  bool wait_for_a_task = false;
  bool wait_for_a_start = false;
  for (const auto& worker : workers_) {
    if (worker->takes_tasks() && worker->idle() && !worker->hangs)
      (worker->was_ready ? someone_ready : someone_free) = true;
    if (worker->mode != WorkerMode::doomed && worker->outstanding() > 1) wait_for_a_task = true;
    if (worker->holds_up_tasks()) (worker->hangs ? wait_for_a_task : wait_for_a_start) = true;
  }
  return ((someone_free || someone_ready) && wait_for_a_task) || (someone_ready && wait_for_a_start);
}

/// Where a task has turned out slow, those behind it go to the free workers.
void LocalPool::rebalance(Clock::time_point now) {
  if (!imbalanced()) return;
  const bool someone_ready = std::ranges::any_of(workers_, [](const auto& worker) {
    return worker->takes_tasks() && worker->was_ready && !worker->hangs && worker->idle();
  });
  for (const auto& worker : workers_) {
    if (worker->holds_up_tasks() && (worker->hangs || someone_ready)) {
      take_back_unstarted(*worker);
      continue;
    }
    if (worker->outstanding() < 2 || worker->mode == WorkerMode::doomed) continue;
    const auto oldest = worker->channel.oldest_position();
    if (!oldest || !worker->channel.started(*oldest)) continue;
    note_progress(*worker, now);
    const Clock::time_point started = start_of_first(*worker);  // a worker that was stopped may not tell it
    if (now - started < slow_after) continue;
    // a ring of short tasks met a long one: what was known of the mean is wrong now
    mean_task_ns_ = std::max(mean_task_ns_, static_cast<double>((now - started).count()));
    worker->slow = true;
    take_back_unstarted(*worker);
  }
  dispatch();
}

}  // namespace yoke::pool
