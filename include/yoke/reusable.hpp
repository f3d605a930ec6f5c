// get_reusable_executor: one process pool for the whole program, made when first asked for, made anew when broken.
#pragma once

#include "yoke/language.hpp"

#include "yoke/executor.hpp"

namespace yoke {

enum class Reuse {
  automatic,  // the same pool if the options are the same; resized if only the size differs; otherwise a new one
  always,     // the same pool and its options, whatever is asked for; a new one like it if it is broken
  never       // always a new one
};

/// The fields of ExecutorOptions again, for designated initialisers; timeout is 10 s unless given.
struct ReusableOptions {
  std::optional<int> max_workers{};
  std::optional<std::chrono::milliseconds> timeout = std::chrono::seconds(10);
  std::map<std::string, std::string> env{};
  std::optional<int> inner_max_num_threads{};
  Initializer initializer{};
  Reducers job_reducers{};
  Reducers result_reducers{};
  CrashPolicy on_crash = CrashPolicy::fail_task;
  RestartBudget restart_budget{};
  std::optional<int> max_tasks_per_worker{};
  std::optional<std::size_t> recycle_worker_memory{};
  std::optional<std::size_t> max_worker_memory{};
  std::optional<std::size_t> max_result{};
  Limits limits{};
  bool new_privileges = false;
  int spare_workers = 0;
  bool spawn_eagerly = false;
  std::chrono::milliseconds start_timeout{120'000};
  std::chrono::milliseconds kill_grace{3000};
  std::shared_ptr<Observer> observer{};
  Reuse reuse = Reuse::automatic;
  bool kill_workers = false;  // when the old pool is replaced, end it at once instead of letting it finish
};

/// A cheap, copyable handle. When the pool was replaced meanwhile, it submits to the current one.
class YOKE_API ReusableExecutor : public ExecutorFace<ReusableExecutor> {
 public:
  ReusableExecutor(const ReusableExecutor&) = default;  // and no move: a handle always has its pool
  ReusableExecutor& operator=(const ReusableExecutor&) = default;
  void shutdown(const ShutdownOptions& options = {});
  void resize(int max_workers);
  int max_workers() const;
  Stats stats() const;
  int executor_id() const noexcept { return id_; }  // counts the pools made
  bool reused() const noexcept { return reused_; }  // the pool was there before
  void send(TaskPtr task);
  /// To the pool that took the place of this one, if one did: a task is packed for the pool that it is sent to.
  void follow();
  ReusableExecutor sender() const { return *this; }
  const std::shared_ptr<Pool>& pool() const noexcept { return pool_; }

 private:
  friend YOKE_API ReusableExecutor get_reusable_executor(const ReusableOptions& options);
  ReusableExecutor(std::shared_ptr<Pool> pool, int id, bool reused)
      : pool_(std::move(pool)), id_(id), reused_(reused) {}

  std::shared_ptr<Pool> pool_;
  int id_;
  bool reused_;
};

/// Returns at once, from any thread: an old pool drains in the background.
YOKE_API ReusableExecutor get_reusable_executor(const ReusableOptions& options = {});

}  // namespace yoke
