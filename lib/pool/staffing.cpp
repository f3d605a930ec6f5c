// Staffing: starting workers, letting them go, and burying the dead. All but ask_to_leave and doom run on the watchdog.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>

#include "lib/pool/local_pool.hpp"
#include "lib/pool/log.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/pause.hpp"
#include "lib/system/process_stat.hpp"
#include "lib/worker/worker_process.hpp"

namespace yoke::pool {
namespace {

constexpr std::chrono::milliseconds first_start_delay{10};  // after a failed launch; doubles
constexpr int most_failed_launches = 8;
constexpr std::chrono::milliseconds notice_grace{50};       // from a life notice to the end of the last thread

std::vector<system::ResourceLimit> resource_limits(const Limits& limits) {
  std::vector<system::ResourceLimit> all;
  const auto add = [&](int resource, const std::optional<std::uint64_t>& value) {
    if (value) all.push_back({resource, static_cast<rlim_t>(*value)});
  };
  add(RLIMIT_CPU, limits.cpu_seconds);
  add(RLIMIT_AS, limits.address_space);
  add(RLIMIT_NOFILE, limits.open_files);
  add(RLIMIT_CORE, limits.core_size);
  add(RLIMIT_FSIZE, limits.file_size);
  return all;
}

/// Whoever reads /proc/PID/stat holds the process's memory for that moment, and tears it down if the process lets it go
/// meanwhile: gigabytes, on the watchdog. A dying thread lets it go right after its notice.
void let_go_of_memory() {
  const auto until = Clock::now() + std::chrono::microseconds(20);
  while (Clock::now() < until) system::pause();
}

std::string describe(const system::ExitStatus& status) {
  if (const auto* exited = std::get_if<system::Exited>(&status)) return fmt::format("exit code {}", exited->code);
  if (const auto* signaled = std::get_if<system::Signaled>(&status)) return fmt::format("signal {}", signaled->signal);
  return "status unknown";
}

}  // namespace

std::size_t LocalPool::staff() const {
  return static_cast<std::size_t>(std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker->mode != WorkerMode::doomed;
  }));
}

/// A doomed worker's rank is free: its replacement may start before it is gone.
int LocalPool::lowest_free_rank() const {
  for (int rank = 0;; ++rank)
    if (std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
          return worker->rank == rank && worker->mode != WorkerMode::doomed;
        }))
      return rank;
}

void LocalPool::start_worker(Lock& lock) {
  const int rank = lowest_free_rank();
  const std::uint32_t spin = spin_looks_.load(std::memory_order_relaxed);
  lock.unlock();
  std::unique_ptr<Worker> worker;
  std::string trouble;
  try {
    static const auto& program =  // never destroyed: workers start during static destruction too
        *new system::ModuleIdentity(system::main_module().identity);
    worker = std::make_unique<Worker>(rank, depth_, program);
    worker->channel.set_spin(spin);
    worker->channel.watchdog_bell().arm();  // it rings when it is ready
    if (options_.initializer) {
      const Initializer& call = options_.initializer;
      worker->initializer = new detail::TaskOf<void>(call.callable(), call.target(), call.arguments());
      const auto function = wire::refer_to(reinterpret_cast<const void*>(call.callable().trampoline));
      const auto target = call.target() ? wire::refer_to(call.target()) : 0;
      if (worker->channel.push(*worker->initializer, function, target, channel::flag_initializer) !=
          channel::ParentChannel::Push::done)
        throw Error("the initializer's arguments could not be handed to the worker");
    }
    system::LaunchSpec spec;
    spec.executable_fd = system::own_executable_fd();
    spec.arguments = system::own_arguments();
    spec.keep_fds = {worker->channel.segment_fd(), worker->channel.worker_socket(), life_fd_.get()};
    std::vector<std::pair<std::string, std::string>> variables(options_.env.begin(), options_.env.end());
    variables.emplace_back(worker::bootstrap_variable, fmt::format("{},{},{}", spec.keep_fds[0], spec.keep_fds[1],
                                                                   spec.keep_fds[2]));
    spec.environment = system::child_environment(variables, {});
    spec.limits = resource_limits(options_.limits);
    worker->process = system::launch(spec);
    worker->channel.close_worker_socket();
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  lock.lock();
  if (!trouble.empty()) {
    launch_failed(trouble);
    return;
  }
  failed_launches_ = 0;
  next_start_.reset();
  ++counts_.started;
  log(LogLevel::info, "started worker {} (pid {})", rank, worker->process.pid());
  worker->idle_since = Clock::now();
  workers_.push_back(std::move(worker));
  if (killing_ || broken_) doom(*workers_.back(), false);
  dispatch();
}

/// Tries again after a while; with no worker at all, gives up after a few times.
void LocalPool::launch_failed(const std::string& trouble) {
  ++failed_launches_;
  log(LogLevel::info, "could not start a worker (try {}): {}", failed_launches_, trouble);
  next_start_ = Clock::now() + first_start_delay * (1 << std::min(failed_launches_, 10));
  if (staff() == 0 && failed_launches_ >= most_failed_launches)
    break_pool(std::make_shared<TextFailure<BrokenProcessPool>>(
        fmt::format("no worker process could be started in {} tries: {}", failed_launches_, trouble)));
}

/// Workers beyond max_workers, idle for too long, or no longer needed, are asked to leave.
void LocalPool::retire_surplus(Clock::time_point now) {
  const bool closing = !accepting_ && backlog_.empty();
  auto surplus = std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker->mode == WorkerMode::serving;
  }) - max_workers_;
  for (const bool only_idle : {true, false}) {
    for (const auto& worker : workers_) {
      if (surplus <= 0) break;
      if (worker->mode != WorkerMode::serving || (only_idle && !worker->idle())) continue;
      take_back_unstarted(*worker);
      ask_to_leave(*worker);
      --surplus;
    }
  }
  for (const auto& worker : workers_) {
    if (worker->mode != WorkerMode::serving || !worker->idle()) continue;
    if (closing || (options_.timeout && !options_.spawn_eagerly && now - worker->idle_since >= *options_.timeout))
      ask_to_leave(*worker);
  }
}

/// Once what it has is done, it ends by itself.
void LocalPool::ask_to_leave(Worker& worker) {
  if (worker.mode != WorkerMode::serving) return;
  worker.mode = WorkerMode::leaving;
  log(LogLevel::debug, "asked worker {} (pid {}) to leave", worker.rank, worker.process.pid());
  worker.channel.ask_to_stop();
  wake_watchdog();
}

/// Ends it: with SIGTERM first, or at once. What it has not started goes to others.
void LocalPool::doom(Worker& worker, bool gently) {
  if (worker.mode != WorkerMode::doomed) {
    worker.mode = WorkerMode::doomed;
    take_back_unstarted(worker);
    if (gently) {
      worker.process.signal(SIGTERM);
      worker.kill_at = Clock::now() + options_.kill_grace;
    }
  }
  if (!gently) {
    worker.process.signal_group(SIGKILL);
    worker.kill_at.reset();
  }
  wake_watchdog();
}

void LocalPool::doom_misbehaved(Worker& worker) {
  worker.misbehaved = worker.mode == WorkerMode::serving;
  doom(worker, false);
}

/// Who was asked to end and has not, is killed.
void LocalPool::advance_ladders(Clock::time_point now) {
  for (const auto& worker : workers_) {
    if (worker->mode == WorkerMode::leaving && worker->idle() && !worker->kill_at)
      worker->kill_at = now + options_.kill_grace;
    if (!worker->kill_at || now < *worker->kill_at) continue;
    doom(*worker, false);
  }
}

/// True if the worker's life notice says that it has ended, or no longer says that it lives.
bool LocalPool::life_notice_changed(Worker& worker) {
  const std::uint32_t word = worker.channel.life_word().load(std::memory_order_acquire);
  if (worker.life == 0 && worker.was_ready && !system::life_ended(word)) worker.life = word;
  return system::life_ended(word) || (worker.life != 0 && word != worker.life);
}

/// True at the second roll call in a row that finds it stopped before it began what it was given.
bool LocalPool::does_not_begin(Worker& worker) {
  const auto oldest = worker.channel.oldest_position();
  const bool before = worker.seen_stopped;
  worker.seen_stopped = worker.mode != WorkerMode::doomed && worker.was_ready && oldest &&
                        !worker.channel.started(*oldest) && worker.process.stopped();
  return before && worker.seen_stopped;
}

/// Looks for workers that have ended. Their notices are looked at always; the processes themselves, which takes system
/// calls, now and then: for those that end before or without a notice.
void LocalPool::bury_dead(Clock::time_point now) {
  const bool thorough = now >= next_roll_call_;
  if (thorough) next_roll_call_ = now + roll_call;
  for (std::size_t i = 0; i < workers_.size();) {
    Worker& worker = *workers_[i];
    if (!worker.was_ready && worker.channel.ready()) worker.was_ready = true;
    const bool noticed = life_notice_changed(worker) || worker.channel.crashed();
    if (noticed && !worker.noticed_at) {
      worker.noticed_at = now;
      let_go_of_memory();
    }
    const bool look = noticed || thorough || !worker.was_ready || worker.mode == WorkerMode::doomed;
    if (look && worker.process.dying_or_dead()) {
      bury(i);
      continue;
    }
    // A notice alone is no proof. Threads may still be ending; after a while it is clear that the notice was overwritten,
    // or that only the main thread has ended or called exec: no worker any more.
    if (noticed && worker.mode != WorkerMode::doomed && now - *worker.noticed_at >= notice_grace) doom_misbehaved(worker);
    if (thorough && does_not_begin(worker)) doom_misbehaved(worker);
    ++i;
  }
}

/// In this order: collect what it published, settle the task that it ran, hand on what it had not started.
void LocalPool::bury(std::size_t index) {
  const std::unique_ptr<Worker> worker = std::move(workers_[index]);
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(index));
  preferred_ = 0;
  collect_from(*worker);

  auto death = std::make_shared<Death>();
  death->pid = worker->process.pid();
  death->rank = worker->rank;
  death->words = worker->channel.last_words();
  death->status = worker->process.early_status().value_or(
      death->words.signal ? system::ExitStatus(system::Signaled{*death->words.signal, false})
                          : system::ExitStatus(system::StatusTaken{}));
  if (const auto* signaled = std::get_if<system::Signaled>(&death->status))
    death->out_of_memory = signaled->signal == SIGKILL && worker->mode != WorkerMode::doomed && memory_pressure_.rose();
  worker->process.signal_group(SIGKILL);  // what its tasks have left running

  TaskPtr lost;
  std::deque<TaskPtr> unstarted;
  for (auto p = worker->channel.first_uncollected(); p != worker->channel.next_position(); ++p) {
    TaskPtr task = worker->channel.task_at(p);
    if (!task) continue;
    if (!lost && unstarted.empty() && worker->channel.started(p))
      lost = std::move(task);
    else if (task != worker->initializer)  // in order: behind the first one nothing can have been started
      unstarted.push_back(std::move(task));
  }
  if (lost) {
    death->task = TaskName(*lost);
    const auto started = Clock::time_point(std::chrono::nanoseconds(death->words.started_ns));
    death->run_time = std::max(Clock::now() - started, Clock::duration(0));
  }
  log(LogLevel::info, "worker {} (pid {}) ended: {}{}{}", death->rank, death->pid, describe(death->status),
      lost ? ", its task is lost" : "", unstarted.empty() ? "" : ", tasks not started go to others");
  const bool orderly = worker->mode == WorkerMode::leaving && !lost;
  requeue(std::move(unstarted));
  mourn(*worker, death, orderly || (worker->mode == WorkerMode::doomed && !worker->misbehaved));
  if (lost && lost != worker->initializer) lose_task(*worker, std::move(lost), death);
  corpses_.push_back(std::move(worker->process));
  reap();
}

/// What a death means for the pool.
void LocalPool::mourn(Worker& worker, const DeathPtr& death, bool expected) {
  if (expected || broken_ || killing_) return;
  ++counts_.deaths;
  const bool killed = std::holds_alternative<system::Signaled>(death->status) &&
                      (std::get<system::Signaled>(death->status).signal == SIGKILL ||
                       std::get<system::Signaled>(death->status).signal == SIGTERM);
  if (worker.initializer)
    break_pool(std::make_shared<BrokenByDeaths>("a worker died in the initializer, so no task can run:", std::vector{death}));
  else if (!death->words.ready && !killed)
    break_pool(std::make_shared<BrokenByDeaths>("a worker died while it started up, so no task can run:", std::vector{death}));
  else if (options_.on_crash == CrashPolicy::break_pool)
    break_pool(std::make_shared<DeathFailure>(std::vector{death}));
  else
    spend_budget(death);
}

void LocalPool::spend_budget(const DeathPtr& death) {
  const auto now = Clock::now();
  recent_deaths_.emplace_back(now, death);
  while (now - recent_deaths_.front().first > options_.restart_budget.within) recent_deaths_.pop_front();
  if (recent_deaths_.size() <= static_cast<std::size_t>(options_.restart_budget.deaths)) return;
  std::vector<DeathPtr> causes;
  for (const auto& [time, cause] : recent_deaths_) causes.push_back(cause);
  break_pool(std::make_shared<BrokenByDeaths>(
      fmt::format("{} workers died within {} s, more than the restart budget allows:", causes.size(),
                  options_.restart_budget.within.count()),
      std::move(causes)));
}

/// The task that a dead worker was running: tried again if its caller said so, failed otherwise.
void LocalPool::lose_task(Worker& worker, TaskPtr task, const DeathPtr& death) {
  task->set_worker_pid(death->pid);
  task->pool_word = 0;
  if (task->done()) return;
  ++task->attempts;
  auto& deaths = deaths_of_[task.get()];
  deaths.push_back(death);
  if (static_cast<int>(task->attempts) <= task->options().retries && !broken_ && !killing_) {
    ++counts_.retried;
    backlog_.push_front(std::move(task));
    return;
  }
  std::vector<DeathPtr> all = std::move(deaths);
  deaths_of_.erase(task.get());
  ++counts_.failed;
  if (worker.timed_out)
    task->resolve(failed(timeout_failure(*task)));
  else
    task->resolve(failed(std::make_shared<DeathFailure>(std::move(all))));
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
  for (const auto& worker : workers_) doom(*worker, false);
}

void LocalPool::reap() {
  std::erase_if(corpses_, [](system::ProcessHandle& corpse) { return corpse.try_reap().has_value(); });
}

}  // namespace yoke::pool
