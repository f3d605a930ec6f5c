// LocalPool: a pool of worker processes on this machine.
//
// Threads: any thread may call. (1) One lock guards all state; it is held for short computations only, never while
// waiting. (2) Results are collected by whoever has the lock and looks: a submitter whose ring is full, the one waiter
// that leads, or the watchdog. (3) The watchdog thread alone starts, signals and reaps processes, and keeps time; it
// sleeps in one place (watchdog.cpp). (4) A task is owned by exactly one of: the backlog, one worker's channel, or,
// once resolved, its futures. (5) In a fork every call looks first whose process it is (Pool::in_other_process), before
// any lock.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/pool/backlog.hpp"
#include "lib/pool/event.hpp"
#include "lib/pool/failure.hpp"
#include "lib/pool/time_after.hpp"
#include "lib/pool/worker.hpp"
#include "lib/system/memfd.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/warm_memory.hpp"
#include "yoke/executor.hpp"

namespace yoke::pool {

/// Descriptors for a worker of that rank to have as its stdout and stderr; they stay the giver's.
using WorkerOutput = std::function<std::array<int, 2>(int rank)>;

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
  using Lock = std::unique_lock<std::mutex>;
  using DeathPtr = std::shared_ptr<const Death>;

  // local_pool.cpp
  void check_accepting() const;
  void start_watchdog();
  void tune_spinning();
  void wake_watchdog() noexcept;
  void warm_memory_came() noexcept override { wake_watchdog(); }
  void watch_at_latest(Clock::time_point time) noexcept;
  Worker* worker_of(const Task& task) const;
  std::uint64_t position_of(const Task& task) const;
  void cancel_unstarted();
  void fail_unfinished(const std::shared_ptr<const Failure>& failure);

  // dispatch.cpp: from the backlog to the workers, and back
  void dispatch();
  void ring(Worker& worker);
  Worker* choose_worker(std::size_t limit);
  bool room_for_more(const Worker& worker, std::size_t depth) const;
  bool give(Worker& worker, Task& task);
  std::uint32_t first_item(const Task& task) const;
  bool waits_for_what_lacks();
  std::size_t depth() const;
  std::size_t most_awake() const;
  void take_back_unstarted(Worker& worker, std::uint64_t from = 0);
  bool take_back_first(Worker& worker, std::uint64_t first);
  void note_unbegun(Worker& worker, const Task& task, std::uint64_t position);
  bool left_alone(Worker& worker, const Task& task);
  bool imbalanced() const;
  void rebalance(Clock::time_point now);
  bool needs_worker();
  bool wants_worker();
  void ask_for_worker();
  void fill_from_spares();

  // collect.cpp: results
  bool collect_all();
  bool collect_from(Worker& worker);
  void finish(Worker& worker, channel::ParentChannel::Collected& result);
  std::string add_part(Task& task, channel::ParentChannel::Collected& result);
  void tell_ready(Worker& worker);
  void tell_started(Worker& worker, std::uint64_t position, const Task& task, Clock::time_point time);
  void tell_running(Worker& worker, Clock::time_point now);
  void tell_done(const Worker& worker, const Task& task, bool failed);
  void lead(const Task& task, Deadline deadline);

  // watchdog.cpp: the thread that starts workers, sees deaths and keeps time
  void run_watchdog();
  void renew_life_notices();
  void keep_watch(Lock& lock);
  std::optional<Clock::time_point> next_deadline(Clock::time_point now);
  bool has_news(const Worker& worker) const;
  void sleep_watchdog(Lock& lock, Deadline deadline, bool others_collect);
  void note_progress(Worker& worker, Clock::time_point now) const;
  Clock::time_point start_of_first(const Worker& worker) const;
  Clock::time_point due(Worker& worker, std::uint64_t position, const Task& task, Clock::time_point now) const;
  void check_task_timeouts(Worker& worker, Clock::time_point now);
  Clock::time_point start_of_item(Worker& worker, std::uint64_t position, std::uint64_t count,
                                  Clock::time_point now) const;
  void end_late(Worker& worker, std::uint64_t position, const TaskPtr& late);
  std::shared_ptr<const Failure> timeout_failure(const Task& task, std::optional<std::uint64_t> item) const;
  bool finished(Clock::time_point now);

  // staffing.cpp: starting, retiring and dooming workers
  void start_worker(Lock& lock);
  void prepare(Worker& worker) const;
  void launch_failed(const std::string& trouble, bool passing);
  void retire_surplus(Clock::time_point now);
  Clock::time_point leaves_at(const Worker& worker) const;
  void ask_to_leave(Worker& worker);
  void doom(Worker& worker, Doom cause, const std::string& reason = {});
  void kill(Worker& worker);
  void advance_ladders(Clock::time_point now);
  int lowest_free_rank(int from, const Worker* but = nullptr) const;
  std::size_t staff() const;  // workers that take tasks, or have some
  std::size_t spares() const;  // workers that wait to take a place

  // burial.cpp: seeing that a worker has ended, and what becomes of its tasks and of the pool
  void note_ready(Worker& worker, Clock::time_point now);
  bool start_takes_too_long(const Worker& worker, Clock::time_point now) const;
  bool begins_nothing(const Worker& worker, Clock::time_point now) const;
  bool life_notice_changed(Worker& worker);
  void take_roll_call(Worker& worker, Clock::time_point now);
  void doom_unfit(Worker& worker, Clock::time_point now, bool thorough);
  bool await_status(Worker& worker, Clock::time_point now);
  void bury_dead(Clock::time_point now);
  void bury(std::size_t index);
  void blame_first(Worker& worker);
  std::shared_ptr<Death> describe_end(const Worker& worker);
  static TaskPtr take_tasks(Worker& worker, std::deque<TaskPtr>& unstarted);
  void mourn(Worker& worker, const DeathPtr& death);
  void count(const Worker& worker, const Death& death);
  std::optional<std::uint64_t> name_item(const Worker& worker, const Task& task);
  void lose_task(Worker& worker, TaskPtr task, const DeathPtr& death);
  void settle_lost(TaskPtr task, std::shared_ptr<const Failure> failure);
  void requeue(std::deque<TaskPtr> tasks);
  void spend_budget(const DeathPtr& death);
  void break_pool(std::shared_ptr<const Failure> failure);
  void reap();

  // memory.cpp: workers that use too much
  std::uint64_t recycle_limit() const;
  void check_memory(Clock::time_point now);

  const ExecutorOptions options_;
  const EventSink tell_;  // empty: nobody listens
  const WorkerOutput output_;  // empty: this process's own. Called on the watchdog
  const std::size_t cores_;
  const int cpus_;  // cpu_count()

  mutable std::mutex mutex_;  // guards everything below but what is said to be atomic
  int max_workers_;
  bool accepting_ = true;
  bool killing_ = false;  // shutdown({.kill_workers = true})
  std::shared_ptr<const Failure> broken_;  // why the pool cannot go on
  bool paused_ = false;  // nothing is given to workers
  Backlog backlog_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::size_t preferred_ = 0;  // index of the worker that got the last task
  bool worker_is_wanted_ = false;  // and a thread of the program has said so since the last start
  bool fully_staffed_ = false;  // surely: max_workers_ of them take tasks; false until counted again
  bool may_be_imbalanced_ = false;  // since it was looked at last
  bool balance_is_watched_ = false;  // the watchdog will look in time
  struct Corpse {
    system::ProcessHandle process;
    std::optional<Clock::time_point> ends_at;  // its group, at the latest: a core file may be written until then
    Clock::time_point waited_for_until;  // the pool's end does not wait for longer
  };
  std::vector<Corpse> corpses_;  // dead or given up, not yet reaped
  double mean_task_ns_ = 0;  // of late; 0: unknown
  struct TaskHistory {
    std::vector<DeathPtr> deaths;  // of workers that had begun it; it is tried again
    std::optional<wire::ChunkParts> parts;  // of a chunk
    int deaths_before = 0;  // of workers that had it first in line and had not begun it
    std::optional<Clock::time_point> first_in_line;  // in a worker from which it was taken back unbegun
  };
  std::unordered_map<const Task*, TaskHistory> history_of_;  // of tasks that have one
  std::deque<std::pair<Clock::time_point, DeathPtr>> recent_deaths_;
  std::optional<Clock::time_point> next_start_;  // after a failed launch: not before
  std::optional<Clock::time_point> next_trim_;  // of warm memory
  int failed_launches_ = 0;
  std::optional<Clock::time_point> launches_fail_since_;
  std::optional<Clock::time_point> lacks_since_;  // something that a task needs to be handed over
  std::optional<Clock::time_point> dispatches_again_at_;
  static constexpr std::chrono::milliseconds roll_call{100};
  Clock::time_point next_roll_call_{};  // when to look at every process again
  std::uint64_t submitted_at_roll_call_ = 0;
  bool quiet_ = true;  // nothing was submitted between the last two
  Clock::time_point next_memory_look_{};  // at busy workers, where there is a max_worker_memory
  std::vector<std::uint64_t> deaths_of_rank_;
  Stats counts_;  // the counters; waiting, running and workers are computed
  std::uint64_t collected_ = 0;  // results ever collected
  std::uint64_t seen_collected_ = 0;  // of those, known to the watchdog
  std::uint64_t collected_at_death_ = 0;  // of those, known at the last death that the restart budget counts
  system::MemoryPressure memory_pressure_;

  std::thread watchdog_;
  bool watchdog_started_ = false;
  bool watchdog_done_ = false;
  std::condition_variable watchdog_ended_;
  bool joined_ = false;
  bool watchdog_rests_ = false;  // it sleeps, and no worker has had anything to do for long
  system::Word commands_{0};  // changes to wake the watchdog
  std::atomic<bool> watchdog_sleeps_{false};
  std::atomic<std::int64_t> watchdog_wakes_at_{0};  // steady clock, ns; while it sleeps
  system::UniqueFd life_fd_;  // the watchdog's life notices, for the workers
  system::Mapping life_page_;
  std::vector<system::Mapping> later_life_pages_;  // of the watchdog alone; see renew_life_notices

  std::mutex leader_;  // held by the waiter that collects for all
  bool patient_ = false;  // it lets results gather; guarded by leader_
  std::atomic<bool> just_woken_{false};  // a worker was, and nothing has been collected since
  std::atomic<std::uint32_t> spin_looks_{0};  // before a waiter or a worker sleeps
};

}  // namespace yoke::pool
