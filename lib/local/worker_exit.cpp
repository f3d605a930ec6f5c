// Worker exit: seeing that a worker has ended, and what becomes of its tasks and of the pool. On the watchdog.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "lib/local/local_pool.hpp"
#include "lib/pool/log.hpp"
#include "lib/pool/retries.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/pause.hpp"
#include "lib/system/process_stat.hpp"
#include "lib/system/rights.hpp"
#include "lib/worker/worker_process.hpp"

namespace yoke::local {
namespace {

using pool::BrokenByDeaths;
using pool::Death;
using pool::DeathFailure;
using pool::failed;
using pool::log;
using pool::LogLevel;
using pool::TaskName;

constexpr std::chrono::milliseconds notice_grace{50};       // from a life notice to the end of the last thread

/// Whoever reads /proc/PID/stat holds the process's memory for that moment, and tears it down if the process lets it go
/// meanwhile: gigabytes, on the watchdog. A dying thread lets it go right after its notice.
void let_go_of_memory() {
  const auto until = Clock::now() + std::chrono::microseconds(20);
  while (Clock::now() < until) system::pause();
}

constexpr std::chrono::seconds status_patience{1};  // with a process that is on its way to its end
constexpr int most_deaths_before = 3;  // of ready workers, before they began the task that was first in line

/// A worker that stops itself for a debugger has any time.
bool stops_for_debugger() { return system::own_variable("YOKE_WORKER_STOP") == "1"; }

/// By a signal that somebody sent, who knows what for: not by anything that its start does.
bool was_killed_from_outside(KillReason reason, const Death& death) {
  return reason != KillReason::not_started && std::holds_alternative<system::Signaled>(death.status) &&
         !death.crashed();
}

/// Its start ended for want of something that the system may have later.
bool lacked_to_start(const Death& death) {
  const auto* exited = std::get_if<system::Exited>(&death.status);
  return exited && exited->code == worker::exit_start_lacks && !death.words.reason.empty();
}

/// What the dead worker was running; what it had not started joins `unstarted`.
TaskPtr take_tasks(Worker& worker, std::deque<TaskPtr>& unstarted) {
  TaskPtr lost;
  for (auto p = worker.channel.first_uncollected(); p != worker.channel.next_position(); ++p) {
    TaskPtr task = worker.channel.task_at(p);
    if (!task) continue;
    if (worker.channel.lost(p))
      lost = std::move(task);
    else if (!worker.is_initializer(task))
      unstarted.push_back(std::move(task));
  }
  return lost;
}

}  // namespace

void LocalPool::note_ready(Worker& worker, Clock::time_point now) {
  if (worker.is_ready() || !worker.channel.ready()) return;
  worker.became_ready(now);
  launch_retries_.succeeded();
  if (!worker.is_initializing()) tell_ready(worker);
}

bool LocalPool::start_takes_too_long(const Worker& worker, Clock::time_point now) const {
  return !worker.is_ready() && now >= time_after(worker.started_at(), options_.start_timeout) && !stops_for_debugger();
}

/// It is ready, has nothing else to do, and does not begin what it has, or says so.
bool LocalPool::begins_nothing(const Worker& worker, Clock::time_point now) const {
  return worker.is_ready() && worker.progress.unbegun_for_long() &&
         now >= time_after(worker.progress.first_since(), options_.start_timeout) && !stops_for_debugger();
}

/// What the worker has done since the last scan. Of one that was stopped then, and still is, before it began what it
/// was given, that is taken back.
void LocalPool::scan(Worker& worker, Clock::time_point now) {
  const auto first = worker.channel.oldest_position();
  Progress& progress = worker.progress;
  const bool free = worker.is_ready() && worker.channel.phase() != Phase::finish;
  progress.scan(first, first && worker.channel.started(*first), free, now);
  // A worker publishes its result before it sleeps: so this is asked after that.
  if (progress.begun_since() && worker.channel.worker_sleeps() && !worker.channel.peek())
    return kill(worker, KillReason::misbehaved, "it waits for tasks and says that it runs one, and was killed");
  // Where the time of its task is over, that ends here, and does not go on to the next worker.
  if (progress.unbegun_for_long()) worker.look_by(now);
  const bool stopped = worker.is_ready() && progress.unbegun() && worker.process.stopped();
  if (!worker.stopped_again(stopped)) return;
  take_back_unstarted(worker);
  if (worker.idle() || worker.is_initializing())  // otherwise it went on just now, and began
    kill(worker, KillReason::misbehaved, "it was stopped by a signal with a task to begin, and was killed");
}

/// Ends a worker that is none any more, cannot be trusted, or does not do what it is there for.
void LocalPool::kill_if_unfit(Worker& worker, Clock::time_point now, bool thorough) {
  // A notice alone is no proof. Threads may still be ending; after a while it is clear that the notice was overwritten,
  // or that only the main thread has ended or called exec: no worker any more.
  if (worker.noticed_at() && now - *worker.noticed_at() >= notice_grace)
    kill(worker, KillReason::misbehaved, "its main thread ended or replaced the program, and it was killed");
  else if (thorough && !worker.channel.take_in_messages())
    kill(worker, KillReason::misbehaved, "it sent descriptors that no result of its can ask for, and was killed");
  else if (thorough && worker.channel.damaged())
    kill(worker, KillReason::misbehaved, "it overwrote the memory that it shares with its parent, and was killed");
  else if (start_takes_too_long(worker, now))
    kill(worker, KillReason::not_started,
         fmt::format("it was not ready within start_timeout ({} ms), and was killed", options_.start_timeout.count()));
  else if (begins_nothing(worker, now))
    kill(worker, KillReason::misbehaved,
         fmt::format("it did not begin the task that it was given within start_timeout ({} ms), and was killed",
                     options_.start_timeout.count()));
  else if (thorough)
    scan(worker, now);
}

/// A death that somebody is told of waits for its status: the exit code 0 shows when the worker's memory is gone, and
/// so does any other of a worker that may not be traced. False once it is known, or does not come: somebody else has
/// reaped it.
bool LocalPool::await_status(Worker& worker, Clock::time_point now) {
  if ((worker.idle() && worker.is_ready()) || worker.process.early_status() || worker.process.reaped() ||
      worker.channel.last_words().signal)
    return false;
  worker.end_is_unclear(now);
  return now - *worker.unclear_since() < status_patience;
}

/// Looks for workers that have ended. Their notices are looked at always; the processes themselves, which takes system
/// calls, now and then: for those that end before or without a notice.
void LocalPool::find_ended_workers(Clock::time_point now) {
  const bool thorough = scan_.begin(now, counts_.submitted);
  for (std::size_t i = 0; i < roster_.size();) {
    Worker& worker = roster_[i];
    note_ready(worker, now);
    if (tell_) tell_running(worker, now);
    const bool noticed = worker.life_notice_changed() || worker.channel.crashed();
    if (noticed && worker.notice(now)) let_go_of_memory();
    const bool look = noticed || thorough || !worker.is_ready() || worker.is_killed() || worker.unclear_since();
    const bool given_up = worker.is_given_up(now);
    if (given_up || (look && worker.process.dying_or_dead())) {
      if (!given_up && await_status(worker, now))
        ++i;
      else
        on_worker_exit(i, given_up);
      continue;
    }
    if (!worker.is_killed()) kill_if_unfit(worker, now, thorough);
    ++i;
  }
}

/// A worker ends, and says that it had not begun what was first in line. Once that is chance: the task goes to others.
/// A task that meets it again and again is the cause, and is lost with the worker.
void LocalPool::blame_first(Worker& worker) {
  const auto first = worker.channel.oldest_position();
  if (!first || !worker.is_ready() || worker.channel.started(*first)) return;
  TaskPtr task = worker.channel.oldest();
  if (worker.is_initializer(task) || ++histories_.of(*task).deaths_before < most_deaths_before) return;
  if (take_back_first(worker, *first)) worker.blame(std::move(task));
}

/// Everything but names and lines.
std::shared_ptr<Death> LocalPool::describe_end(const Worker& worker, bool given_up) {
  auto death = std::make_shared<Death>();
  death->pid = worker.pid();
  death->rank = worker.rank();
  death->words = worker.channel.last_words();
  death->status = worker.process.early_status().value_or(
      death->words.signal ? system::ExitStatus(system::Signaled{*death->words.signal, false})
                          : system::ExitStatus(system::StatusTaken{}));
  if (!worker.life().kill_text().empty()) death->words.reason = worker.life().kill_text();
  death->out_of_memory = worker.life().kill_reason() == KillReason::over_memory;
  death->was_ready = worker.is_ready();
  if (const auto* signaled = std::get_if<system::Signaled>(&death->status);
      signaled && signaled->signal == SIGKILL && worker.life().kill_reason() == KillReason::none &&
      memory_pressure_.rose()) {
    death->out_of_memory = true;
    death->words.reason = "the kernel killed it for want of memory: its oom counter rose";
  }
  // Asked of that one alone: whoever was seen to end does so, though one of its threads may look alive once more.
  if (given_up && !worker.process.dying_or_dead()) {
    death->lives_on = true;
    death->words.reason =
        fmt::format("it could not be ended ({}){}{}",
                    worker.cannot_be_killed() ? worker.cannot_be_killed().message() : "the kernel has it busy",
                    death->words.reason.empty() ? "" : ": ", death->words.reason);
  }
  return death;
}

/// In this order: collect what it published, settle the task that it ran, hand on what it had not started.
void LocalPool::on_worker_exit(std::size_t index, bool given_up) {
  const std::unique_ptr<Worker> worker = roster_.remove(index);
  YOKE_FAULT_POINT(before_burial, 0);
  collect_from(*worker);
  note_ready(*worker, Clock::now());
  YOKE_FAULT_POINT(burial_collected, 0);

  const std::shared_ptr<Death> death = describe_end(*worker, given_up);
  // What its tasks have left running ends with it: but not before the kernel has written its core file.
  const bool writes_core = death->words.signal && worker->process.may_write_core();
  if (!writes_core) worker->process.signal_group(SIGKILL);
  YOKE_FAULT_POINT(burial_group_ended, 0);

  if (!worker->is_killed()) blame_first(*worker);
  std::deque<TaskPtr> unstarted;
  const TaskPtr lost = take_tasks(*worker, unstarted);
  describe_lost(*worker, lost, *death);
  if (death->item && worker->channel.chunk_progress(worker->channel.first_uncollected()).items != 0)
    ++results_;  // items that are kept are progress, as results are
  log(LogLevel::info, "worker {} (pid {}) ended: {}{}{}", death->rank, death->pid, system::describe(death->status),
      lost ? ", its task is lost" : "", unstarted.empty() ? "" : ", tasks not started go to others");
  const bool orderly = (worker->life().is_retiring() && !lost) || worker->life().kill_reason() == KillReason::pool_ends;
  requeue(std::move(unstarted));
  YOKE_FAULT_POINT(burial_requeued, 0);
  if (lost && !worker->is_initializer(lost))
    tell_started(*worker, worker->channel.first_uncollected(), *lost, Clock::now() - death->run_time);
  if (tell_)
    tell_({orderly ? EventKind::worker_retired : EventKind::worker_died,
           Clock::now(),
           death->pid,
           death->rank,
           {},
           false,
           orderly ? nullptr : death});
  if (!orderly) apply_crash_policy(*worker, death);
  YOKE_FAULT_POINT(burial_mourned, 0);
  for (const TaskPtr& task : {lost, worker->blamed()}) {
    if (!task || worker->is_initializer(task)) continue;
    lose_task(*worker, task, death);
    YOKE_FAULT_POINT(burial_task_lost, 0);
  }
  const auto now = Clock::now();
  worker->end();
  reaper_.take(std::move(worker->process),
               death->lives_on ? Reaper::End::given_up
               : writes_core   ? Reaper::End::writes_core
                               : Reaper::End::dead,
               now);
  reaper_.reap(now, admission_.killing());
  YOKE_FAULT_POINT(after_burial, 0);
}

/// What the worker was doing.
void LocalPool::describe_lost(const Worker& worker, const TaskPtr& lost, Death& death) const {
  if (lost || worker.blamed()) death.task = TaskName(lost ? *lost : *worker.blamed());
  if (!lost) return;
  if (const auto told = worker.channel.started_ns(worker.channel.first_uncollected()))
    death.run_time = std::max(Clock::now().time_since_epoch() - std::chrono::nanoseconds(*told), Clock::duration(0));
  death.item = name_item(worker, *lost);
}

/// What a death means for the pool.
void LocalPool::apply_crash_policy(const Worker& worker, const DeathPtr& death) {
  if (admission_.gives_up()) return;
  // Others that start may lack the same: those alone serve that have started.
  if (!worker.is_ready() && lacked_to_start(*death))
    return launch_failed(death->words.reason, true, roster_.has_ready());
  const KillReason reason = worker.life().kill_reason();
  deaths_.count(worker.rank(), cause_of(reason, *death));
  if (is_wanted_by_caller(reason)) return;
  if (worker.is_initializing())
    break_pool(
        std::make_shared<BrokenByDeaths>("a worker died in the initializer, so no task can run:", std::vector{death}));
  else if (!worker.is_ready() && !was_killed_from_outside(reason, *death))
    break_pool(
        std::make_shared<BrokenByDeaths>("a worker died while it started up, so no task can run:", std::vector{death}));
  else if (options_.on_crash == CrashPolicy::break_pool)
    break_pool(std::make_shared<DeathFailure>(std::vector{death}));
  else if (auto failure = deaths_.spend(death, Clock::now(), results_))
    break_pool(std::move(failure));
}

/// Which item of its map a dead worker was running; empty if its task is no chunk.
std::optional<std::uint64_t> LocalPool::name_item(const Worker& worker, const Task& task) const {
  const auto chunk = wire::chunk_arguments(task);
  if (!chunk) return {};
  const std::uint64_t before = histories_.next_item(task);
  const std::uint64_t done = worker.channel.chunk_progress(worker.channel.first_uncollected()).items;
  return chunk->number + std::min(before + std::min(done, chunk->count), chunk->count - 1);
}

/// The task that a dead worker was running: tried again if its caller said so, failed otherwise.
void LocalPool::lose_task(Worker& worker, TaskPtr task, const DeathPtr& death) {
  task->set_worker_pid(death->pid);
  task->pool_word = 0;
  tell_done(worker, *task, true);
  if (task->done()) return;
  TaskHistory& past = histories_.of(*task);
  if (const auto chunk = wire::chunk_arguments(*task)) {
    if (!past.parts) past.parts.emplace(*chunk, options_.max_result);
    const std::uint64_t before = past.parts->next();
    const auto added = past.parts->add(worker.channel.chunk_progress(worker.channel.first_uncollected()));
    if (added == wire::ChunkParts::Added::too_long) return lose_rest(std::move(task), too_long(past.parts->bytes()));
    if (past.parts->next() != before) {  // another item than the one that died before
      task->attempts = 0;
      past.deaths.clear();
    }
  }
  ++task->attempts;
  past.deaths.push_back(death);
  if (pool::may_try_again(task->attempts, task->options().retries) && !admission_.gives_up()) {
    ++counts_.retried;
    backlog_.push_front(std::move(task));
    return;
  }
  FailurePtr failure;
  if (worker.life().kill_reason() == KillReason::timed_out)
    failure = timeout_failure(*task, death->item);
  else
    failure = std::make_shared<DeathFailure>(std::exchange(past.deaths, {}));
  settle_lost(std::move(task), std::move(failure));
}

/// A task fails; of a chunk the item that ran, and the others go on.
void LocalPool::settle_lost(TaskPtr task, FailurePtr failure) {
  Outcome outcome;
  auto& parts = histories_.of(*task).parts;
  if (parts && !parts->complete() && !admission_.gives_up()) {
    parts->lose(std::move(failure));
    task->attempts = 0;
    if (!parts->complete()) return backlog_.push_front(std::move(task));
    outcome = parts->join();
  } else {
    outcome = failed(std::move(failure));
  }
  fail_with(*task, std::move(outcome));
}

/// All items of a chunk fail of which nothing is known.
void LocalPool::lose_rest(TaskPtr task, FailurePtr failure) {
  auto& parts = histories_.of(*task).parts;
  fail_with(*task, parts->lose_rest(failure) ? parts->join() : failed(std::move(failure)));
}

void LocalPool::fail_with(Task& task, Outcome outcome) {
  histories_.forget(task);
  ++counts_.failed;
  task.resolve(std::move(outcome));
}

}  // namespace yoke::local
