// Burial: seeing that a worker has ended, and what becomes of its tasks and of the pool. On the watchdog.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "lib/pool/local_pool.hpp"
#include "lib/pool/log.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/pause.hpp"
#include "lib/system/process_stat.hpp"
#include "lib/system/rights.hpp"

namespace yoke::pool {
namespace {

constexpr std::chrono::milliseconds notice_grace{50};       // from a life notice to the end of the last thread

/// Whoever reads /proc/PID/stat holds the process's memory for that moment, and tears it down if the process lets it go
/// meanwhile: gigabytes, on the watchdog. A dying thread lets it go right after its notice.
void let_go_of_memory() {
  const auto until = Clock::now() + std::chrono::microseconds(20);
  while (Clock::now() < until) system::pause();
}

constexpr std::chrono::seconds core_patience{60};  // for a core file
constexpr std::chrono::seconds end_patience{60};  // for memory that is given back, or a kernel that is busy
constexpr std::chrono::seconds status_patience{1};  // with a process that is on its way to its end
constexpr int most_deaths_before = 3;  // of ready workers, before they began the task that was first in line

std::string describe(const system::ExitStatus& status) {
  if (const auto* exited = std::get_if<system::Exited>(&status)) return fmt::format("exit code {}", exited->code);
  if (const auto* signaled = std::get_if<system::Signaled>(&status)) return fmt::format("signal {}", signaled->signal);
  return "status unknown";
}

/// A worker that stops itself for a debugger has any time.
bool stops_for_debugger() {
  static const bool stops = system::own_variable("YOKE_WORKER_STOP") == "1";
  return stops;
}

}  // namespace

void LocalPool::note_ready(Worker& worker, Clock::time_point now) {
  if (worker.was_ready || !worker.channel.ready()) return;
  worker.was_ready = true;
  worker.idle_since = now;
  if (!worker.initializer) tell_ready(worker);
}

bool LocalPool::start_takes_too_long(const Worker& worker, Clock::time_point now) const {
  return !worker.was_ready && now >= time_after(worker.started_at, options_.start_timeout) && !stops_for_debugger();
}

/// It is ready, has nothing else to do, and does not begin what it has, or says so.
bool LocalPool::begins_nothing(const Worker& worker, Clock::time_point now) const {
  return worker.was_ready && worker.progress.unbegun_for_long() &&
         now >= time_after(worker.progress.first_since(), options_.start_timeout) && !stops_for_debugger();
}

/// True if the worker's life notice says that it has ended, or no longer says that it lives.
bool LocalPool::life_notice_changed(Worker& worker) {
  const std::uint32_t word = worker.channel.life_word().load(std::memory_order_acquire);
  if (worker.life == 0 && worker.was_ready && !system::life_ended(word)) worker.life = word;
  return system::life_ended(word) || (worker.was_ready && (worker.life == 0 || word != worker.life));
}

/// What it has done since the last one; of one that was stopped then, and still is, before it began what it was given,
/// that is taken back.
void LocalPool::take_roll_call(Worker& worker, Clock::time_point now) {
  const auto first = worker.channel.oldest_position();
  Progress& progress = worker.progress;
  progress.look_at_roll_call(first, first && worker.channel.started(*first), now);
  if (progress.unbegun_for_long()) {
    worker.hangs = true;
    worker.look_at = now;  // where the time of its task is over, that ends here, and does not go on to the next
  } else if (!progress.unbegun() && (progress.any() || (worker.was_ready && worker.channel.phase() != Phase::finish))) {
    worker.hangs = false;
  }
  const bool before = worker.seen_stopped;
  worker.seen_stopped = worker.was_ready && progress.unbegun() && worker.process.stopped();
  if (!before || !worker.seen_stopped) return;
  take_back_unstarted(worker);
  if (worker.idle() || worker.initializer)  // otherwise it went on just now, and began
    doom(worker, Doom::misbehaved, "it was stopped by a signal with a task to begin, and was killed");
}

/// Ends a worker that is none any more, cannot be trusted, or does not do what it is there for.
void LocalPool::doom_unfit(Worker& worker, Clock::time_point now, bool thorough) {
  // A notice alone is no proof. Threads may still be ending; after a while it is clear that the notice was overwritten,
  // or that only the main thread has ended or called exec: no worker any more.
  if (worker.noticed_at && now - *worker.noticed_at >= notice_grace)
    doom(worker, Doom::misbehaved, "its main thread ended or replaced the program, and it was killed");
  else if (thorough && !worker.channel.take_in_messages())
    doom(worker, Doom::misbehaved, "it sent descriptors that no result of its can ask for, and was killed");
  else if (thorough && worker.channel.damaged())
    doom(worker, Doom::misbehaved, "it overwrote the memory that it shares with its parent, and was killed");
  else if (start_takes_too_long(worker, now))
    doom(worker, Doom::not_started,
         fmt::format("it was not ready within start_timeout ({} ms), and was killed", options_.start_timeout.count()));
  else if (begins_nothing(worker, now))
    doom(worker, Doom::misbehaved,
         fmt::format("it did not begin the task that it was given within start_timeout ({} ms), "
                     "and was killed",
                     options_.start_timeout.count()));
  else if (thorough)
    take_roll_call(worker, now);
}

/// A death that somebody is told of waits for its status: the exit code 0 shows when the worker's memory is gone, and
/// so does any other of a worker that may not be traced. False once it is known, or does not come: somebody else has
/// reaped it.
bool LocalPool::await_status(Worker& worker, Clock::time_point now) {
  if ((worker.idle() && worker.was_ready) || worker.process.early_status() || worker.process.reaped() ||
      worker.channel.last_words().signal)
    return false;
  if (!worker.unclear_since) worker.unclear_since = now;
  return now - *worker.unclear_since < status_patience;
}

/// Looks for workers that have ended. Their notices are looked at always; the processes themselves, which takes system
/// calls, now and then: for those that end before or without a notice.
void LocalPool::bury_dead(Clock::time_point now) {
  const bool thorough = now >= next_roll_call_;
  if (thorough) {
    next_roll_call_ = now + roll_call;
    quiet_ = std::exchange(submitted_at_roll_call_, counts_.submitted) == counts_.submitted;
  }
  for (std::size_t i = 0; i < workers_.size();) {
    Worker& worker = *workers_[i];
    note_ready(worker, now);
    if (tell_) tell_running(worker, now);
    const bool noticed = life_notice_changed(worker) || worker.channel.crashed();
    if (noticed && !worker.noticed_at) {
      worker.noticed_at = now;
      let_go_of_memory();
    }
    const bool look =
        noticed || thorough || !worker.was_ready || worker.mode == WorkerMode::doomed || worker.unclear_since;
    const bool given_up = worker.give_up_at && now >= *worker.give_up_at;
    if (given_up || (look && worker.process.dying_or_dead())) {
      if (!given_up && await_status(worker, now))
        ++i;
      else
        bury(i);
      continue;
    }
    if (worker.mode != WorkerMode::doomed) doom_unfit(worker, now, thorough);
    ++i;
  }
}

/// A worker ends, and says that it had not begun what was first in line. Once that is chance: the task goes to others.
/// A task that meets it again and again is the cause, and is lost with the worker.
void LocalPool::blame_first(Worker& worker) {
  const auto first = worker.channel.oldest_position();
  if (!first || !worker.was_ready || worker.channel.started(*first)) return;
  TaskPtr task = worker.channel.oldest();
  if (task == worker.initializer || ++history_of_[task.get()].deaths_before < most_deaths_before) return;
  if (take_back_first(worker, *first)) worker.blamed = std::move(task);
}

/// Everything but names and lines.
std::shared_ptr<Death> LocalPool::describe_end(const Worker& worker) {
  auto death = std::make_shared<Death>();
  death->pid = worker.process.pid();
  death->rank = worker.rank;
  death->words = worker.channel.last_words();
  death->status = worker.process.early_status().value_or(
      death->words.signal ? system::ExitStatus(system::Signaled{*death->words.signal, false})
                          : system::ExitStatus(system::StatusTaken{}));
  if (!worker.doom_reason.empty()) death->words.reason = worker.doom_reason;
  death->out_of_memory = worker.doom == Doom::over_memory;
  death->was_ready = worker.was_ready;
  if (const auto* signaled = std::get_if<system::Signaled>(&death->status);
      signaled && signaled->signal == SIGKILL && worker.doom == Doom::none && memory_pressure_.rose()) {
    death->out_of_memory = true;
    death->words.reason = "the kernel killed it for want of memory: its oom counter rose";
  }
  if (!worker.process.dying_or_dead()) {
    death->lives_on = true;
    death->words.reason =
        fmt::format("it could not be ended ({}){}{}",
                    worker.cannot_be_killed ? worker.cannot_be_killed.message() : "the kernel has it busy",
                    death->words.reason.empty() ? "" : ": ", death->words.reason);
  }
  return death;
}

/// What the dead worker was running; what it had not started joins `unstarted`.
TaskPtr LocalPool::take_tasks(Worker& worker, std::deque<TaskPtr>& unstarted) {
  TaskPtr lost;
  for (auto p = worker.channel.first_uncollected(); p != worker.channel.next_position(); ++p) {
    TaskPtr task = worker.channel.task_at(p);
    if (!task) continue;
    if (worker.channel.lost(p))
      lost = std::move(task);
    else if (task != worker.initializer)
      unstarted.push_back(std::move(task));
  }
  return lost;
}

/// In this order: collect what it published, settle the task that it ran, hand on what it had not started.
void LocalPool::bury(std::size_t index) {
  const std::unique_ptr<Worker> worker = std::move(workers_[index]);
  fully_staffed_ = false;
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(index));
  preferred_ = 0;
  YOKE_FAULT_POINT(before_burial, 0);
  collect_from(*worker);
  note_ready(*worker, Clock::now());
  YOKE_FAULT_POINT(burial_collected, 0);

  const std::shared_ptr<Death> death = describe_end(*worker);
  // What its tasks have left running ends with it: but not before the kernel has written its core file.
  std::optional<Clock::time_point> ends_at;
  if (death->words.signal && worker->process.may_write_core())
    ends_at = Clock::now() + core_patience;
  else
    worker->process.signal_group(SIGKILL);
  YOKE_FAULT_POINT(burial_group_ended, 0);

  if (worker->mode != WorkerMode::doomed) blame_first(*worker);
  std::deque<TaskPtr> unstarted;
  const TaskPtr lost = take_tasks(*worker, unstarted);
  if (lost || worker->blamed) death->task = TaskName(lost ? *lost : *worker->blamed);
  if (const auto told = worker->channel.started_ns(worker->channel.first_uncollected()); told && lost)
    death->run_time = std::max(Clock::now().time_since_epoch() - std::chrono::nanoseconds(*told), Clock::duration(0));
  if (lost) death->item = name_item(*worker, *lost);
  if (death->item && worker->channel.chunk_progress(worker->channel.first_uncollected()).items != 0)
    ++collected_;  // items that are kept are progress, as results are
  log(LogLevel::info, "worker {} (pid {}) ended: {}{}{}", death->rank, death->pid, describe(death->status),
      lost ? ", its task is lost" : "", unstarted.empty() ? "" : ", tasks not started go to others");
  const bool orderly = (worker->mode == WorkerMode::leaving && !lost) || worker->doom == Doom::wanted;
  requeue(std::move(unstarted));
  YOKE_FAULT_POINT(burial_requeued, 0);
  if (lost && lost != worker->initializer)
    tell_started(*worker, worker->channel.first_uncollected(), *lost, Clock::now() - death->run_time);
  if (tell_)
    tell_({orderly ? EventKind::worker_retired : EventKind::worker_died,
           Clock::now(),
           death->pid,
           death->rank,
           {},
           false,
           orderly ? nullptr : death});
  if (!orderly) mourn(*worker, death);
  YOKE_FAULT_POINT(burial_mourned, 0);
  for (const TaskPtr& task : {lost, worker->blamed}) {
    if (!task || task == worker->initializer) continue;
    lose_task(*worker, task, death);
    YOKE_FAULT_POINT(burial_task_lost, 0);
  }
  corpses_.push_back(
      {std::move(worker->process), ends_at, death->lives_on ? Clock::now() : Clock::now() + end_patience});
  reap();
  YOKE_FAULT_POINT(after_burial, 0);
}

/// By what ended it. What the caller wanted is no death of the pool's.
void LocalPool::count(const Worker& worker, const Death& death) {
  DeathCounts& causes = counts_.deaths_by_cause;
  if (worker.doom == Doom::cancelled) ++causes.cancelled;
  if (worker.doom == Doom::timed_out) ++causes.timed_out;
  if (worker.doom == Doom::cancelled || worker.doom == Doom::timed_out) return;
  if (worker.doom == Doom::over_memory)
    ++causes.over_memory_limit;
  else if (worker.doom == Doom::misbehaved || worker.doom == Doom::not_started)
    ++causes.misbehaved;
  else if (death.out_of_memory)
    ++causes.out_of_memory;
  else if (std::holds_alternative<system::Exited>(death.status))
    ++causes.exited;
  else
    ++(death.crashed() ? causes.crashed : causes.killed);
  ++counts_.deaths;
  const auto rank = static_cast<std::size_t>(worker.rank);
  if (rank >= deaths_of_rank_.size()) deaths_of_rank_.resize(rank + 1);
  ++deaths_of_rank_[rank];
}

/// What a death means for the pool.
void LocalPool::mourn(Worker& worker, const DeathPtr& death) {
  if (broken_ || killing_) return;
  count(worker, *death);
  if (worker.doom == Doom::cancelled || worker.doom == Doom::timed_out) return;
  const bool killed = worker.doom != Doom::not_started && std::holds_alternative<system::Signaled>(death->status) &&
                      (std::get<system::Signaled>(death->status).signal == SIGKILL ||
                       std::get<system::Signaled>(death->status).signal == SIGTERM);
  if (worker.initializer)
    break_pool(
        std::make_shared<BrokenByDeaths>("a worker died in the initializer, so no task can run:", std::vector{death}));
  else if (!worker.was_ready && !killed)
    break_pool(
        std::make_shared<BrokenByDeaths>("a worker died while it started up, so no task can run:", std::vector{death}));
  else if (options_.on_crash == CrashPolicy::break_pool)
    break_pool(std::make_shared<DeathFailure>(std::vector{death}));
  else
    spend_budget(death);
}

void LocalPool::spend_budget(const DeathPtr& death) {
  const auto now = Clock::now();
  if (std::exchange(collected_at_death_, collected_) != collected_) recent_deaths_.clear();  // there is progress
  recent_deaths_.emplace_back(now, death);
  while (now - recent_deaths_.front().first > options_.restart_budget.within) recent_deaths_.pop_front();
  if (recent_deaths_.size() <= static_cast<std::size_t>(options_.restart_budget.deaths)) return;
  std::vector<DeathPtr> causes;
  for (const auto& [time, cause] : recent_deaths_) causes.push_back(cause);
  break_pool(std::make_shared<BrokenByDeaths>(
      fmt::format(
          "{} workers died within {} s and no task finished between them, more than restart_budget allows ({} deaths):",
          causes.size(), options_.restart_budget.within.count(), options_.restart_budget.deaths),
      std::move(causes)));
}

/// Which item of its map a dead worker was running; empty if its task is no chunk.
std::optional<std::uint64_t> LocalPool::name_item(const Worker& worker, const Task& task) {
  const auto chunk = wire::chunk_arguments(task);
  if (!chunk) return {};
  const auto past = history_of_.find(&task);
  const std::uint64_t before = past != history_of_.end() && past->second.parts ? past->second.parts->next() : 0;
  const std::uint64_t done = worker.channel.chunk_progress(worker.channel.first_uncollected()).items;
  return chunk->number + std::min(before + std::min(done, chunk->count), chunk->count - 1);
}

/// The task that a dead worker was running: tried again if its caller said so, failed otherwise.
void LocalPool::lose_task(Worker& worker, TaskPtr task, const DeathPtr& death) {
  task->set_worker_pid(death->pid);
  task->pool_word = 0;
  tell_done(worker, *task, true);
  if (task->done()) return;
  TaskHistory& past = history_of_[task.get()];
  if (const auto chunk = wire::chunk_arguments(*task)) {
    if (!past.parts) past.parts.emplace(chunk->count);
    const std::uint64_t before = past.parts->next();
    past.parts->add(worker.channel.chunk_progress(worker.channel.first_uncollected()));
    if (past.parts->next() != before) {  // another item than the one that died before
      task->attempts = 0;
      past.deaths.clear();
    }
  }
  ++task->attempts;
  past.deaths.push_back(death);
  if (static_cast<int>(task->attempts) <= task->options().retries && !broken_ && !killing_) {
    ++counts_.retried;
    backlog_.push_front(std::move(task));
    return;
  }
  std::shared_ptr<const Failure> failure;
  if (worker.doom == Doom::timed_out)
    failure = timeout_failure(*task, death->item);
  else
    failure = std::make_shared<DeathFailure>(std::exchange(past.deaths, {}));
  settle_lost(std::move(task), std::move(failure));
}

/// A task fails; of a chunk the item that ran, and the others go on.
void LocalPool::settle_lost(TaskPtr task, std::shared_ptr<const Failure> failure) {
  Outcome outcome;
  auto& parts = history_of_[task.get()].parts;
  if (parts && !parts->complete() && !broken_ && !killing_) {
    parts->lose(std::move(failure));
    task->attempts = 0;
    if (!parts->complete()) return backlog_.push_front(std::move(task));
    outcome = parts->join();
  } else {
    outcome = failed(std::move(failure));
  }
  history_of_.erase(task.get());
  ++counts_.failed;
  task->resolve(std::move(outcome));
}

void LocalPool::requeue(std::deque<TaskPtr> tasks) {
  for (auto it = tasks.rbegin(); it != tasks.rend(); ++it) {
    (*it)->pool_word = 0;
    backlog_.push_front(std::move(*it));
  }
}

/// Every unfinished task fails with the reason, and so does every later submit.
void LocalPool::break_pool(std::shared_ptr<const Failure> failure) {
  if (broken_) return;
  broken_ = failure;
  log(LogLevel::info, "the pool is broken");
  for (const auto& worker : workers_) collect_from(*worker);
  fail_unfinished(failure);
  for (const auto& worker : workers_) doom(*worker, Doom::wanted);
}

void LocalPool::reap() {
  std::erase_if(corpses_, [&](Corpse& corpse) {
    if (corpse.ends_at && (killing_ || corpse.process.can_be_reaped() || Clock::now() >= *corpse.ends_at)) {
      corpse.process.signal_group(SIGKILL);
      corpse.ends_at.reset();
    }
    return corpse.process.try_reap() && corpse.process.try_reap_group();
  });
}

}  // namespace yoke::pool
