#include "lib/pool/local_pool.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <stdexcept>

#include "lib/pool/all_pools.hpp"
#include "lib/pool/count_waiting.hpp"
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

namespace yoke::pool {
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
  auto pool = std::make_shared<LocalPool>(options, std::move(tell), std::move(output));
  remember_pool(pool);
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
      output_(std::move(output)),
      cores_(static_cast<std::size_t>(system::usable_cpus())),
      cpus_(cpu_count()),
      max_workers_(checked_size(options.max_workers.value_or(cpus_))) {
  system::look_at_environment();
  tune_spinning();
}

/// Not in a fork: there the parent's pools live for ever (all_pools.hpp).
LocalPool::~LocalPool() {
  if (!watchdog_.joinable()) return;
  if (!watchdog_done_ || watchdog_.get_id() == std::this_thread::get_id())
    watchdog_.detach();
  else
    watchdog_.join();
}

/// Spinning before sleeping pays only where a core is free for each that spins: the waiter, and the workers that have
/// something to do, or were given something since the last look.
void LocalPool::tune_spinning() {
  std::size_t spinners = 1;
  for (const auto& worker : workers_) {
    if (worker->given != worker->given_before || !worker->idle()) ++spinners;
    worker->given_before = worker->given;
  }
  const std::uint32_t looks = spinners <= cores_ ? channel::long_spin : channel::short_spin;
  if (looks == spin_looks_.exchange(looks, std::memory_order_relaxed)) return;
  for (const auto& worker : workers_) worker->channel.set_spin(looks);
}

void LocalPool::check_accepting() const {
  if (broken_) std::rethrow_exception(broken_->make(""));
  if (!accepting_) throw ShutdownExecutorError("the executor is shut down and takes no more tasks");
}

void LocalPool::start_watchdog() {
  if (watchdog_started_) return;
  if (before_main())
    throw BrokenProcessPool(
        "a static object's constructor submits a task before main, when no worker can start yet, and would do so again "
        "in each "
        "worker. A pool may be made there; submit in main, or later");
  check_rights();  // of a pool that was made before main
  check_depth();
  try {
    life_fd_ = system::create_memfd("yoke-life", sizeof(worker::ParentLife));
    life_page_ = system::Mapping(life_fd_.get(), sizeof(worker::ParentLife), system::Access::read_write);
    system::seal_memfd(life_fd_.get(), system::Seal::writes);
    life_fd_ = system::read_only(std::move(life_fd_));
    watchdog_ = system::start_thread("yoke-watchdog", [self = shared_from_this()] { self->run_watchdog(); });
  } catch (const std::system_error& error) {
    throw BrokenProcessPool(fmt::format("the pool's watchdog thread could not be started: {}", error.what()));
  }
  watchdog_started_ = true;
}

void LocalPool::wake_watchdog() noexcept {
  commands_.fetch_add(1, std::memory_order_seq_cst);
  if (watchdog_sleeps_.load(std::memory_order_seq_cst))
    system::futex_wake(commands_, INT_MAX, system::Sharing::process_private);
}

/// The watchdog looks again at that time, or before.
void LocalPool::watch_at_latest(Clock::time_point time) noexcept {
  if (time.time_since_epoch().count() < watchdog_wakes_at_.load(std::memory_order_relaxed)) wake_watchdog();
}

void LocalPool::submit(TaskPtr task) {
  check_process();
  Lock lock(mutex_);
  check_accepting();
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

Worker* LocalPool::worker_of(const Task& task) const {
  if (task.pool_word == 0) return nullptr;
  const std::uint64_t position = position_of(task);
  for (const auto& worker : workers_)
    if (worker->channel.task_at(position).get() == &task) return worker.get();
  return nullptr;
}

std::uint64_t LocalPool::position_of(const Task& task) const { return task.pool_word & 0xffff'ffff'ffff; }

bool LocalPool::running(const Task& task) const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  const Worker* worker = worker_of(task);
  return worker && worker->channel.started(position_of(task));
}

bool LocalPool::cancel(Task& task, CancelMode mode) {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  collect_all();
  if (task.done()) return false;
  if (Worker* worker = worker_of(task)) {
    const std::uint64_t position = position_of(task);
    note_ready(*worker, Clock::now());  // it may have become so since the last look
    // A ready worker may be running its first task, whatever the slot says.
    const bool may_run =
        mode == CancelMode::kill && worker->was_ready && worker->channel.first_uncollected() == position;
    bool runs = may_run;
    if (!(may_run ? take_back_first(*worker, position) : worker->channel.revoke(position))) {
      if (mode != CancelMode::kill) return false;
      runs = left_alone(*worker, task) || may_run;
      if (task.done()) {
        dispatch();
        return false;
      }
    }
    if (runs) doom(*worker, Doom::cancelled);
  }
  const bool waits = task.pool_word == 0;
  if (!task.resolve_cancelled()) return false;
  if (waits) backlog_.forget_one();
  task.pool_word = 0;
  ++counts_.cancelled;
  history_of_.erase(&task);
  dispatch();
  wake_watchdog();
  return true;
}

/// Cancels the backlog and what workers have not started.
void LocalPool::cancel_unstarted() {
  for (const auto& worker : workers_)
    if (worker->mode != WorkerMode::doomed) take_back_unstarted(*worker);
  for (const TaskPtr& task : backlog_.take_all()) {
    history_of_.erase(task.get());
    if (task->resolve_cancelled()) ++counts_.cancelled;
  }
}

/// Resolves every task that is not done, running ones included.
void LocalPool::fail_unfinished(const std::shared_ptr<const Failure>& failure) {
  const auto fail = [&](Task& task) {
    if (task.resolve(failed(failure))) ++counts_.failed;
  };
  for (const TaskPtr& task : backlog_.take_all()) fail(*task);
  for (const auto& worker : workers_) {
    for (auto p = worker->channel.first_uncollected(); p != worker->channel.next_position(); ++p) {
      const TaskPtr task = worker->channel.task_at(p);
      if (!task || task == worker->initializer) continue;
      task->set_worker_pid(worker->process.pid());
      fail(*task);
    }
    if (worker->blamed) fail(*worker->blamed);
  }
  history_of_.clear();
}

bool LocalPool::accepting() const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  return accepting_ && !broken_;
}

void LocalPool::shutdown(const ShutdownOptions& options) {
  if (in_other_process()) return;
  Lock lock(mutex_);
  accepting_ = false;
  if (options.kill_workers && !killing_) {
    killing_ = true;
    collect_all();
    fail_unfinished(std::make_shared<TextFailure<ShutdownExecutorError>>(
        "it was not finished when the executor was shut down with kill_workers"));
    for (const auto& worker : workers_) doom(*worker, Doom::wanted);
  } else if (options.cancel_futures) {
    collect_all();
    cancel_unstarted();
  }
  if (!watchdog_started_) {
    watchdog_done_ = true;
    return;
  }
  if (std::exchange(paused_, false)) dispatch();
  wake_watchdog();
  if (!options.wait || watchdog_.get_id() == std::this_thread::get_id()) return;
  watchdog_ended_.wait(lock, [&] { return watchdog_done_; });
  if (!joined_ && watchdog_.joinable()) {
    joined_ = true;
    std::thread watchdog = std::move(watchdog_);
    lock.unlock();
    watchdog.join();
  }
}

void LocalPool::set_paused(bool paused) {
  if (in_other_process()) return;
  const Lock lock(mutex_);
  paused_ = paused && accepting_;
  if (!paused_) return dispatch();
  for (const auto& worker : workers_)
    if (worker->mode != WorkerMode::doomed) take_back_unstarted(*worker);
}

void LocalPool::resize(int max_workers) {
  const int size = checked_size(max_workers);
  check_process();
  const Lock lock(mutex_);
  max_workers_ = size;
  fully_staffed_ = false;
  dispatch();
  wake_watchdog();
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
    TaskName name;
  };
  std::vector<Named> names;
  {
    const Lock lock(mutex_);
    stats = counts_;
    const auto now = Clock::now();
    for (const auto& worker : workers_) {
      WorkerInfo info;
      info.pid = worker->process.pid();
      info.rank = worker->rank;
      info.tasks_done = worker->done;
      const auto rank = static_cast<std::size_t>(worker->rank);
      if (rank < deaths_of_rank_.size()) info.deaths = deaths_of_rank_[rank];
      const auto oldest = worker->channel.oldest_position();
      const bool busy = oldest && worker->channel.started(*oldest) && worker->channel.oldest() != worker->initializer;
      if (busy) {
        if (!worker->channel.oldest()->done()) ++stats.running;  // else its time is over, or it was cancelled
        names.push_back({stats.workers.size(), TaskName(*worker->channel.oldest())});
        const auto since = [now](std::int64_t ns) {
          return std::max(now - Clock::time_point(std::chrono::nanoseconds(ns)), Clock::duration(0));
        };
        const auto started = worker->channel.started_ns(*oldest);
        if (started) info.age = since(*started);
        if (started && worker->channel.heartbeat_ns() >= *started)
          info.heartbeat_age = since(worker->channel.heartbeat_ns());
      }
      info.state = worker->mode != WorkerMode::serving         ? WorkerState::leaving
                   : !worker->was_ready || worker->initializer ? WorkerState::starting
                   : worker->spare                             ? WorkerState::spare
                   : busy                                      ? WorkerState::busy
                                                               : WorkerState::idle;
      stats.workers.push_back(std::move(info));
    }
    count_waiting(stats);
  }
  for (const Named& named : names) stats.workers[named.index].task = named.name.text();
  for (WorkerInfo& info : stats.workers) info.memory = system::memory_use(info.pid).resident;
  return stats;
}

}  // namespace yoke::pool
