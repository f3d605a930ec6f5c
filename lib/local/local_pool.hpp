// LocalPool: a pool of worker processes on this machine. It conducts its parts, each of which owns its state: see
// lib/local.
//
// Its own state is what was submitted and not yet given (the backlog), who works (the roster), and what is owed to
// tasks and to the program meanwhile (histories, counts).
//
// Threads: any thread may call. (1) One lock guards all state; it is held for short computations only, never while
// waiting.
// (2) Results are collected by whoever has the lock and looks: a submitter whose ring is full, the one waiter that
// collects for all, or the watchdog. (3) The watchdog thread alone starts, signals and reaps processes, and keeps time;
// it sleeps in one place (watchdog.cpp). (4) A task is owned by exactly one of: the backlog, one worker's channel, or,
// once resolved, its futures. (5) In a fork every call looks first whose process it is (Pool::in_other_process), before
// any lock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "lib/local/deaths.hpp"
#include "lib/local/launch_retries.hpp"
#include "lib/local/life_notices.hpp"
#include "lib/local/liveness_scan.hpp"
#include "lib/local/reaper.hpp"
#include "lib/local/roster.hpp"
#include "lib/local/scheduler.hpp"
#include "lib/local/shortage.hpp"
#include "lib/local/task_history.hpp"
#include "lib/local/watchdog_sleep.hpp"
#include "lib/local/worker_starter.hpp"
#include "lib/pool/admission.hpp"
#include "lib/pool/backlog.hpp"
#include "lib/pool/event.hpp"
#include "lib/pool/failure.hpp"
#include "lib/pool/run_times.hpp"
#include "lib/pool/time_after.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/mutex.hpp"
#include "lib/system/warm_memory.hpp"
#include "yoke/pool.hpp"

namespace yoke::local {

using pool::EventSink;
using pool::time_after;

class LocalPool final : public Pool,
                        private system::warm_memory::Keeper,
                        public std::enable_shared_from_this<LocalPool> {
 public:
  /// Throws std::invalid_argument for options that make no sense. Starts nothing, unless spawn_eagerly.
  static std::shared_ptr<LocalPool> make(const ExecutorOptions& options, EventSink tell = {}, WorkerOutput output = {});
  LocalPool(const ExecutorOptions& options, EventSink tell, WorkerOutput output);
  ~LocalPool() override;

  void submit(TaskPtr task) override;
  bool cancel(Task& task, CancelMode mode) override;
  bool running(const Task& task) const override;
  void wait(const Task& task, Deadline deadline) override;
  bool accepting() const override;
  void shutdown(const ShutdownOptions& options) override;
  void resize(int max_workers) override;
  void set_paused(bool paused) override;
  int max_workers() const override;
  Stats stats() const override;

 private:
  using Lock = system::Lock;
  using FailurePtr = std::shared_ptr<const Failure>;
  using Collected = channel::ParentChannel::Collected;

  // local_pool.cpp
  void start_watchdog() YOKE_REQUIRES(mutex_);
  void warm_memory_came() noexcept override { sleep_.wake(); }
  void cancel_unstarted() YOKE_REQUIRES(mutex_);
  void fail_task(Task& task, const FailurePtr& failure) YOKE_REQUIRES(mutex_);
  void fail_waiting(const FailurePtr& failure) YOKE_REQUIRES(mutex_);
  void fail_unfinished(const FailurePtr& failure) YOKE_REQUIRES(mutex_);
  void break_pool(FailurePtr failure) YOKE_REQUIRES(mutex_);

  // dispatch.cpp: from the backlog to the workers, and back
  void dispatch() YOKE_REQUIRES(mutex_);
  void ring(Worker& worker) YOKE_REQUIRES(mutex_);
  scheduler::Load load() const YOKE_REQUIRES(mutex_);
  scheduler::Limits limits() const YOKE_REQUIRES(mutex_);
  bool give(Worker& worker, Task& task) YOKE_REQUIRES(mutex_);
  bool push(Worker& worker, Task& task) YOKE_REQUIRES(mutex_);
  void take_back_unstarted(Worker& worker, std::uint64_t from = 0) YOKE_REQUIRES(mutex_);
  bool take_back_first(Worker& worker, std::uint64_t first) YOKE_REQUIRES(mutex_);
  void note_unbegun(Worker& worker, const Task& task, std::uint64_t position) YOKE_REQUIRES(mutex_);
  bool isolate(Worker& worker, const Task& task) YOKE_REQUIRES(mutex_);
  void requeue(std::deque<TaskPtr> tasks) YOKE_REQUIRES(mutex_);
  bool imbalanced() const YOKE_REQUIRES(mutex_);
  void rebalance(Clock::time_point now) YOKE_REQUIRES(mutex_);

  // collect.cpp: results
  bool collect_all() YOKE_REQUIRES(mutex_);
  bool collect_from(Worker& worker) YOKE_REQUIRES(mutex_);
  void finish(Worker& worker, Collected& result) YOKE_REQUIRES(mutex_);
  void finish_initializer(Worker& worker, Collected& result) YOKE_REQUIRES(mutex_);
  std::string add_part(Task& task, Collected& result) YOKE_REQUIRES(mutex_);
  FailurePtr too_long(std::uint64_t bytes) const YOKE_REQUIRES(mutex_);
  void keep_parts(Worker& worker, Collected& result) YOKE_REQUIRES(mutex_);
  void settle(Worker& worker, Collected& result) YOKE_REQUIRES(mutex_);
  bool try_to_collect() YOKE_EXCLUDES(mutex_);
  void collect_while_waiting(const Task& task, Deadline deadline) YOKE_REQUIRES(collector_);
  void tune_spinning() YOKE_REQUIRES(mutex_);

  // observing.cpp: what the observer is told
  void tell_ready(Worker& worker) YOKE_REQUIRES(mutex_);
  void tell_started(Worker& worker, std::uint64_t position, const Task& task, Clock::time_point time)
      YOKE_REQUIRES(mutex_);
  void tell_running(Worker& worker, Clock::time_point now) YOKE_REQUIRES(mutex_);
  void tell_done(const Worker& worker, const Task& task, bool failed) YOKE_REQUIRES(mutex_);

  // watchdog.cpp: the thread that starts workers, sees deaths and keeps time
  struct Rest;
  void run_watchdog();
  void keep_watch() YOKE_EXCLUDES(mutex_);
  bool look_around(Clock::time_point now) YOKE_REQUIRES(mutex_);
  void plan_looks(Clock::time_point now) YOKE_REQUIRES(mutex_);
  std::optional<Clock::time_point> next_deadline(Clock::time_point now) const YOKE_REQUIRES(mutex_);
  bool has_news(const Worker& worker) const YOKE_REQUIRES(mutex_);
  bool plan_rest(Rest& rest, Clock::time_point now, bool others_collect) YOKE_REQUIRES(mutex_);
  void rest(const Rest& rest) YOKE_EXCLUDES(mutex_);
  bool finished(Clock::time_point now) const YOKE_REQUIRES(mutex_);

  // time_limits.cpp: tasks that run too long
  void note_progress(Worker& worker, Clock::time_point now) const YOKE_REQUIRES(mutex_);
  Clock::time_point start_of_first(const Worker& worker) const YOKE_REQUIRES(mutex_);
  Clock::time_point due(const Worker& worker, std::uint64_t position, const Task& task, Clock::time_point now) const
      YOKE_REQUIRES(mutex_);
  void check_time_limits(Worker& worker, Clock::time_point now) YOKE_REQUIRES(mutex_);
  void end_late(Worker& worker, std::uint64_t position, const TaskPtr& late) YOKE_REQUIRES(mutex_);
  static FailurePtr timeout_failure(const Task& task, std::optional<std::uint64_t> item);

  // staffing.cpp: starting, retiring and killing workers
  bool needs_worker() const YOKE_REQUIRES(mutex_);
  bool wants_worker() const YOKE_REQUIRES(mutex_);
  void ask_for_worker() YOKE_REQUIRES(mutex_);
  void promote_reserves() YOKE_REQUIRES(mutex_);
  WorkerStarter::Order plan_start() YOKE_REQUIRES(mutex_);
  void take_started(WorkerStarter::Started started) YOKE_REQUIRES(mutex_);
  void launch_failed(const std::string& trouble, bool passing, bool served) YOKE_REQUIRES(mutex_);
  void retire_surplus(Clock::time_point now) YOKE_REQUIRES(mutex_);
  Clock::time_point leaves_at(const Worker& worker) const YOKE_REQUIRES(mutex_);
  void retire(Worker& worker) YOKE_REQUIRES(mutex_);
  void kill(Worker& worker, KillReason reason, const std::string& text = {}) YOKE_REQUIRES(mutex_);
  void kill_all() YOKE_REQUIRES(mutex_);
  void send_kill(Worker& worker) YOKE_REQUIRES(mutex_);
  void kill_overdue(Clock::time_point now) YOKE_REQUIRES(mutex_);
  void check_memory(Clock::time_point now) YOKE_REQUIRES(mutex_);

  // worker_exit.cpp: seeing that a worker has ended, and what becomes of its tasks and of the pool
  void note_ready(Worker& worker, Clock::time_point now) YOKE_REQUIRES(mutex_);
  bool start_takes_too_long(const Worker& worker, Clock::time_point now) const YOKE_REQUIRES(mutex_);
  bool begins_nothing(const Worker& worker, Clock::time_point now) const YOKE_REQUIRES(mutex_);
  void scan(Worker& worker, Clock::time_point now) YOKE_REQUIRES(mutex_);
  void kill_if_unfit(Worker& worker, Clock::time_point now, bool thorough) YOKE_REQUIRES(mutex_);
  bool await_status(Worker& worker, Clock::time_point now) YOKE_REQUIRES(mutex_);
  void find_ended_workers(Clock::time_point now) YOKE_REQUIRES(mutex_);
  void on_worker_exit(std::size_t index, bool given_up) YOKE_REQUIRES(mutex_);
  void blame_first(Worker& worker) YOKE_REQUIRES(mutex_);
  std::shared_ptr<pool::Death> describe_end(const Worker& worker, bool given_up) YOKE_REQUIRES(mutex_);
  void describe_lost(const Worker& worker, const TaskPtr& lost, pool::Death& death) const YOKE_REQUIRES(mutex_);
  void apply_crash_policy(const Worker& worker, const DeathPtr& death) YOKE_REQUIRES(mutex_);
  std::optional<std::uint64_t> name_item(const Worker& worker, const Task& task) const YOKE_REQUIRES(mutex_);
  void lose_task(Worker& worker, TaskPtr task, const DeathPtr& death) YOKE_REQUIRES(mutex_);
  void settle_lost(TaskPtr task, FailurePtr failure) YOKE_REQUIRES(mutex_);
  void lose_rest(TaskPtr task, FailurePtr failure) YOKE_REQUIRES(mutex_);
  void fail_with(Task& task, Outcome outcome) YOKE_REQUIRES(mutex_);

  const ExecutorOptions options_;
  const EventSink tell_;  // empty: nobody listens
  const std::size_t cores_;
  LifeNotices life_notices_;
  WorkerStarter starter_;  // the watchdog's

  mutable system::Mutex mutex_;
  int max_workers_ YOKE_GUARDED_BY(mutex_);
  pool::Admission admission_ YOKE_GUARDED_BY(mutex_);
  bool paused_ YOKE_GUARDED_BY(mutex_) = false;  // nothing is given to workers
  pool::Backlog backlog_ YOKE_GUARDED_BY(mutex_);
  TaskHistories histories_ YOKE_GUARDED_BY(mutex_);
  Roster roster_ YOKE_GUARDED_BY(mutex_);
  pool::RunTimes run_times_ YOKE_GUARDED_BY(mutex_);
  Shortage shortage_ YOKE_GUARDED_BY(mutex_);
  LaunchRetries launch_retries_ YOKE_GUARDED_BY(mutex_);
  Deaths deaths_ YOKE_GUARDED_BY(mutex_);
  Reaper reaper_ YOKE_GUARDED_BY(mutex_);
  LivenessScan scan_ YOKE_GUARDED_BY(mutex_);
  system::MemoryPressure memory_pressure_ YOKE_GUARDED_BY(mutex_);
  Stats counts_ YOKE_GUARDED_BY(mutex_);  // the counters of tasks and starts; the rest is computed
  std::uint64_t results_ YOKE_GUARDED_BY(mutex_) = 0;  // ever collected
  bool worker_is_wanted_ YOKE_GUARDED_BY(mutex_) = false;  // and the program said so since the last start
  bool may_be_imbalanced_ YOKE_GUARDED_BY(mutex_) = false;  // since it was looked at last
  bool balance_is_watched_ YOKE_GUARDED_BY(mutex_) = false;  // the watchdog will look in time
  std::optional<Clock::time_point> next_trim_ YOKE_GUARDED_BY(mutex_);  // of warm memory
  Clock::time_point next_memory_look_ YOKE_GUARDED_BY(mutex_){};  // at busy workers, where there is a max_worker_memory

  std::thread watchdog_ YOKE_GUARDED_BY(mutex_);
  enum class Watchdog { none, runs, done, joined } watchdog_state_ YOKE_GUARDED_BY(mutex_) = Watchdog::none;
  std::condition_variable_any watchdog_ended_;
  WatchdogSleep sleep_;  // has its own rules of threads

  system::Mutex collector_;  // held by the waiter that collects for all
  bool batching_ YOKE_GUARDED_BY(collector_) = false;  // it lets results gather
  std::atomic<bool> just_woken_{false};  // a worker was, and nothing has been collected since
  std::atomic<std::uint32_t> spin_looks_{0};  // before a waiter or a worker sleeps
};

}  // namespace yoke::local
