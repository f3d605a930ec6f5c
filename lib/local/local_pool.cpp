#include "lib/local/local_pool.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <stdexcept>

#include "lib/pool/all_pools.hpp"
#include "lib/pool/count_waiting.hpp"
#include "lib/pool/log.hpp"
#include "lib/system/cpu_count.hpp"
#include "lib/system/environment.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/process_stat.hpp"
#include "lib/system/rights.hpp"
#include "lib/system/thread.hpp"
#include "lib/system/worker_program.hpp"
#include "lib/worker/lifeline.hpp"
#include "lib/worker/worker_process.hpp"
#include "yoke/process.hpp"

namespace yoke::local {
namespace {

constexpr int most_workers = 4096;
constexpr std::uint64_t burst = 64;  // tasks

int checked_size(int max_workers) {
  if (max_workers < 1) throw std::invalid_argument(fmt::format("max_workers must be at least 1, not {}", max_workers));
  if (max_workers > most_workers)
    throw std::invalid_argument(fmt::format("max_workers must be at most {}, not {}", most_workers, max_workers));
  return max_workers;
}

int allowed_depth() {
  const int value = std::atoi(system::own_variable("YOKE_MAX_DEPTH").value_or("").c_str());
  return value > 0 ? value : 10;
}

/// The program's caller is not to be trusted, or exec would change the worker's rights.
void check_rights() {
  if (const std::string trouble = system::trouble_of_rights(); !trouble.empty()) throw BrokenProcessPool(trouble);
  // A copy of a pool's program that heeds no environment: it would have workers that do as little.
  if (system::outranks_caller() && std::getenv(worker::bootstrap_variable))
    throw BrokenProcessPool(
        fmt::format("{} is set for a program with rights beyond its caller's, which is nobody's worker: unset it",
                    worker::bootstrap_variable));
}

/// Static objects are being constructed, in the program or in what is to be its worker.
bool before_main() { return worker::start_pending() || system::program_will_be_ours(); }

void check_depth() {
  const int depth = this_worker::depth() + 1;
  if (depth > allowed_depth())
    throw RecursionError(
        fmt::format("a pool inside a worker inside a pool, {} deep: at most {} are allowed (YOKE_MAX_DEPTH)", depth,
                    allowed_depth()));
}

/// This program did not begin with our start hook: another one must run as worker.
void check_foreign_program() {
  if (system::home_module().is_executable)
    throw BrokenProcessPool(
        "this program cannot start workers: yoke's start hook did not run in it, as in a fully static link. Call "
        "yoke::init(argc, argv) in the first line of main");
  system::keep_home_loaded();
  try {
    system::worker_program();
  } catch (const std::exception& error) {
    throw BrokenProcessPool(error.what());
  }
}

/// Of a worker's environment.
void check_variable(const std::string& name, const std::string& value) {
  if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
    throw std::invalid_argument(fmt::format(
        "env: '{}' is no name of a variable, which has at least one character and none of '=' and NUL", name.c_str()));
  if (value.find('\0') != std::string::npos)
    throw std::invalid_argument(fmt::format("env: the value of {} has a NUL, which no environment can hold", name));
  if (name == worker::bootstrap_variable)
    throw std::invalid_argument(fmt::format("env: {} is the library's own, by which a worker finds its pool", name));
}

WorkerState state_of(const Worker& worker, bool busy) {
  switch (worker.life().state()) {
    case Worker::State::starting:
    case Worker::State::initializing: return WorkerState::starting;
    case Worker::State::spare: return WorkerState::spare;
    case Worker::State::serving: return busy ? WorkerState::busy : WorkerState::idle;
    case Worker::State::retiring:
    case Worker::State::killing:
    case Worker::State::ended: break;
  }
  return WorkerState::leaving;
}

}  // namespace

std::shared_ptr<LocalPool> LocalPool::make(const ExecutorOptions& options, EventSink tell, WorkerOutput output) {
  const bool early = before_main();
  if (!early) {
    check_rights();
    if (!system::program_is_ours()) check_foreign_program();
    check_depth();
  }
  if (options.max_tasks_per_worker && *options.max_tasks_per_worker < 1)
    throw std::invalid_argument("max_tasks_per_worker must be at least 1");
  if (options.inner_max_num_threads && *options.inner_max_num_threads < 1)
    throw std::invalid_argument("inner_max_num_threads must be at least 1");
  if (options.spare_workers < 0)
    throw std::invalid_argument(fmt::format("spare_workers must not be negative, and is {}", options.spare_workers));
  if (options.restart_budget.deaths < 0) throw std::invalid_argument("restart_budget.deaths must not be negative");
  if (options.restart_budget.within < std::chrono::seconds(0))
    throw std::invalid_argument("restart_budget.within must not be negative");
  for (const auto& [name, value] : options.env) check_variable(name, value);
  auto pool = std::make_shared<LocalPool>(options, std::move(tell), std::move(output));
  pool::remember_pool(pool);
  if (options.spawn_eagerly && !early) {
    const Lock lock(pool->mutex_);
    pool->start_watchdog();
  }
  return pool;
}

LocalPool::LocalPool(const ExecutorOptions& options, EventSink tell, WorkerOutput output)
    : Pool(options.job_reducers, options.result_reducers),
      options_(options),
      tell_(std::move(tell)),
      cores_(static_cast<std::size_t>(system::usable_cpus())),
      starter_(options_, life_notices_, std::move(output)),
      max_workers_(checked_size(options.max_workers.value_or(cpu_count()))),
      launch_retries_(options_.start_timeout),
      deaths_(options_.restart_budget) {
  system::look_at_environment();
  tune_spinning();
}

/// Not in a fork: there the parent's pools live for ever (all_pools.hpp).
LocalPool::~LocalPool() {
  if (!watchdog_.joinable()) return;
  if (watchdog_state_ == Watchdog::runs || watchdog_.get_id() == std::this_thread::get_id())
    watchdog_.detach();
  else
    watchdog_.join();
}

void LocalPool::start_watchdog() {
  if (watchdog_state_ != Watchdog::none) return;
  if (before_main())
    throw BrokenProcessPool(
        "a static object's constructor submits a task before main, when no worker can start yet, and would do so again "
        "in each "
        "worker. A pool may be made there; submit in main, or later");
  check_rights();  // of a pool that was made before main
  check_depth();
  try {
    life_notices_.make();
    watchdog_ = system::start_thread("yoke-watchdog", [self = shared_from_this()] { self->run_watchdog(); });
  } catch (const std::system_error& error) {
    throw BrokenProcessPool(fmt::format("the pool's watchdog thread could not be started: {}", error.what()));
  }
  watchdog_state_ = Watchdog::runs;
}

void LocalPool::submit(TaskPtr task) {
  check_process();
  const Lock lock(mutex_);
  admission_.check();
  start_watchdog();
  ++counts_.submitted;
  const bool others_wait = !backlog_.empty();
  backlog_.push_back(std::move(task));
  // In a burst that nobody waits for yet: so that the watchdog is not woken for it, on this very processor perhaps.
  const bool collected = counts_.submitted % burst == 0 && collect_all();
  // Where others wait there was no room for them, and there is none until something is collected.
  if (!others_wait || collected || collect_all())
    dispatch();
  else
    ask_for_worker();
}

bool LocalPool::running(const Task& task) const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  const Worker* worker = roster_.holder_of(task);
  return worker && worker->channel.started(Roster::position_of(task));
}

bool LocalPool::cancel(Task& task, CancelMode mode) {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  collect_all();
  if (task.done()) return false;
  if (Worker* worker = roster_.holder_of(task)) {
    const std::uint64_t position = Roster::position_of(task);
    note_ready(*worker, Clock::now());  // it may have become so since the last look
    // A ready worker may be running its first task, whatever the slot says.
    const bool may_run =
        mode == CancelMode::kill && worker->is_ready() && worker->channel.first_uncollected() == position;
    bool runs = may_run;
    if (!(may_run ? take_back_first(*worker, position) : worker->channel.revoke(position))) {
      if (mode != CancelMode::kill) return false;
      runs = isolate(*worker, task) || may_run;
      if (task.done()) {
        dispatch();
        return false;
      }
    }
    if (runs) kill(*worker, KillReason::cancelled);
  }
  const bool waits = task.pool_word == 0;
  if (!task.resolve_cancelled()) return false;
  if (waits) backlog_.forget_one();
  task.pool_word = 0;
  ++counts_.cancelled;
  histories_.forget(task);
  dispatch();
  sleep_.wake();
  return true;
}

/// Cancels the backlog and what workers have not started.
void LocalPool::cancel_unstarted() {
  for (const auto& worker : roster_)
    if (!worker->is_killed()) take_back_unstarted(*worker);
  for (const TaskPtr& task : backlog_.take_all()) {
    histories_.forget(*task);
    if (task->resolve_cancelled()) ++counts_.cancelled;
  }
}

void LocalPool::fail_task(Task& task, const FailurePtr& failure) {
  if (task.resolve(pool::failed(failure))) ++counts_.failed;
}

void LocalPool::fail_waiting(const FailurePtr& failure) {
  for (const TaskPtr& task : backlog_.take_all()) {
    histories_.forget(*task);
    fail_task(*task, failure);
  }
}

/// Resolves every task that is not done, running ones included.
void LocalPool::fail_unfinished(const FailurePtr& failure) {
  fail_waiting(failure);
  for (const auto& worker : roster_) {
    for (auto p = worker->channel.first_uncollected(); p != worker->channel.next_position(); ++p) {
      const TaskPtr task = worker->channel.task_at(p);
      if (!task || worker->is_initializer(task)) continue;
      task->set_worker_pid(worker->pid());
      fail_task(*task, failure);
    }
    if (worker->blamed()) fail_task(*worker->blamed(), failure);
  }
  histories_.clear();
}

/// Every unfinished task fails with the reason, and so does every later submit.
void LocalPool::break_pool(FailurePtr failure) {
  if (!admission_.break_with(failure)) return;
  pool::log(pool::LogLevel::info, "the pool is broken");
  for (const auto& worker : roster_) collect_from(*worker);
  fail_unfinished(failure);
  kill_all();
}

bool LocalPool::accepting() const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  return admission_.accepts();
}

void LocalPool::shutdown(const ShutdownOptions& options) {
  if (in_other_process()) return;
  std::thread ended;
  {
    Lock lock(mutex_);
    admission_.close();
    if (options.kill_workers && admission_.kill()) {
      collect_all();
      fail_unfinished(pool::Admission::failure_of_killed());
      kill_all();
    } else if (options.cancel_futures) {
      collect_all();
      cancel_unstarted();
    }
    if (watchdog_state_ == Watchdog::none) {
      watchdog_state_ = Watchdog::joined;
      return;
    }
    if (std::exchange(paused_, false)) dispatch();
    sleep_.wake();
    if (!options.wait || watchdog_.get_id() == std::this_thread::get_id()) return;
    while (watchdog_state_ == Watchdog::runs) watchdog_ended_.wait(lock);
    if (watchdog_state_ == Watchdog::joined || !watchdog_.joinable()) return;
    watchdog_state_ = Watchdog::joined;
    ended = std::move(watchdog_);
  }
  ended.join();
}

void LocalPool::set_paused(bool paused) {
  if (in_other_process()) return;
  const Lock lock(mutex_);
  paused_ = paused && !admission_.closed();
  if (!paused_) return dispatch();
  for (const auto& worker : roster_)
    if (!worker->is_killed()) take_back_unstarted(*worker);
}

void LocalPool::resize(int max_workers) {
  const int size = checked_size(max_workers);
  check_process();
  const Lock lock(mutex_);
  max_workers_ = size;
  dispatch();
  sleep_.wake();
}

int LocalPool::max_workers() const {
  check_process();
  const Lock lock(mutex_);
  return max_workers_;
}

Stats LocalPool::stats() const {
  check_process();
  Stats stats;
  struct Named {
    std::size_t index;
    pool::TaskName name;
  };
  std::vector<Named> names;
  {
    const Lock lock(mutex_);
    stats = counts_;
    stats.deaths = deaths_.total();
    stats.deaths_by_cause = deaths_.by_cause();
    const auto now = Clock::now();
    for (const auto& worker : roster_) {
      WorkerInfo info;
      info.pid = worker->pid();
      info.rank = worker->rank();
      info.tasks_done = worker->done();
      info.deaths = deaths_.of_rank(worker->rank());
      const auto oldest = worker->channel.oldest_position();
      const bool busy = oldest && worker->channel.started(*oldest) && !worker->is_initializer(worker->channel.oldest());
      if (busy) {
        if (!worker->channel.oldest()->done()) ++stats.running;  // else its time is over, or it was cancelled
        names.push_back({stats.workers.size(), pool::TaskName(*worker->channel.oldest())});
        const auto since = [now](std::int64_t ns) {
          return std::max(now - Clock::time_point(std::chrono::nanoseconds(ns)), Clock::duration(0));
        };
        const auto started = worker->channel.started_ns(*oldest);
        if (started) info.age = since(*started);
        if (started && worker->channel.heartbeat_ns() >= *started)
          info.heartbeat_age = since(worker->channel.heartbeat_ns());
      }
      info.state = state_of(*worker, busy);
      stats.workers.push_back(std::move(info));
    }
    pool::count_waiting(stats);
  }
  for (const Named& named : names) stats.workers[named.index].task = named.name.text();
  for (WorkerInfo& info : stats.workers) info.memory = system::memory_use(info.pid).resident;
  return stats;
}

}  // namespace yoke::local
