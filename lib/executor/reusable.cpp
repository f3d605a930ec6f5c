// The reusable executor: the current pool of the program, and when it is replaced.
#include "yoke/reusable.hpp"

#include <atomic>
#include <mutex>

#include "lib/system/fork_guard.hpp"

namespace yoke {
namespace {

struct Current {
  std::mutex mutex;  // held for moments only: pools are made, resized and told to drain without waiting
  std::shared_ptr<Pool> pool;
  ExecutorOptions options;
  int id = -1;
};
std::atomic<int> current_id{-1};

Current& current() {
  static auto* const state = system::make_process_wide<Current>(system::ForkOrder::reusable_executor);
  return *state;
}
[[maybe_unused]] const Current& made_at_load = current();

ExecutorOptions pool_options(const ReusableOptions& o) {
  return {.max_workers = o.max_workers,
          .timeout = o.timeout,
          .env = o.env,
          .inner_max_num_threads = o.inner_max_num_threads,
          .initializer = o.initializer,
          .job_reducers = o.job_reducers,
          .result_reducers = o.result_reducers,
          .on_crash = o.on_crash,
          .restart_budget = o.restart_budget,
          .max_tasks_per_worker = o.max_tasks_per_worker,
          .recycle_worker_memory = o.recycle_worker_memory,
          .max_worker_memory = o.max_worker_memory,
          .max_result = o.max_result,
          .limits = o.limits,
          .new_privileges = o.new_privileges,
          .spare_workers = o.spare_workers,
          .spawn_eagerly = o.spawn_eagerly,
          .start_timeout = o.start_timeout,
          .kill_grace = o.kill_grace,
          .observer = o.observer};
}

/// All but the size.
bool same_kind(const ExecutorOptions& a, const ExecutorOptions& b) {
  return a.timeout == b.timeout && a.env == b.env && a.inner_max_num_threads == b.inner_max_num_threads &&
         a.initializer == b.initializer && a.job_reducers == b.job_reducers && a.result_reducers == b.result_reducers &&
         a.on_crash == b.on_crash && a.restart_budget == b.restart_budget &&
         a.max_tasks_per_worker == b.max_tasks_per_worker && a.recycle_worker_memory == b.recycle_worker_memory &&
         a.max_worker_memory == b.max_worker_memory && a.max_result == b.max_result && a.limits == b.limits &&
         a.new_privileges == b.new_privileges && a.spare_workers == b.spare_workers &&
         a.spawn_eagerly == b.spawn_eagerly && a.start_timeout == b.start_timeout && a.kill_grace == b.kill_grace &&
         a.observer == b.observer;
}

/// With the lock held.
void replace(Current& now, const ExecutorOptions& options, bool kill_workers) {
  auto fresh = make_process_pool(options);
  if (now.pool) now.pool->shutdown({.wait = false, .kill_workers = kill_workers});
  now.pool = std::move(fresh);
  now.options = options;
  current_id.store(++now.id, std::memory_order_relaxed);
}

}  // namespace

ReusableExecutor get_reusable_executor(const ReusableOptions& options) {
  Current& now = current();
  const std::lock_guard lock(now.mutex);
  const ExecutorOptions wanted = pool_options(options);
  const bool usable = now.pool && now.pool->accepting();
  if (usable && options.reuse == Reuse::always) return {now.pool, now.id, true};
  if (usable && options.reuse == Reuse::automatic && same_kind(now.options, wanted)) {
    const int size = wanted.max_workers.value_or(now.pool->max_workers());
    if (size != now.pool->max_workers()) now.pool->resize(size);
    now.options.max_workers = size;
    return {now.pool, now.id, true};
  }
  const bool keep_options = now.pool && options.reuse == Reuse::always;
  replace(now, keep_options ? ExecutorOptions(now.options) : wanted, options.kill_workers);
  return {now.pool, now.id, false};
}

void ReusableExecutor::follow() {
  if (current_id.load(std::memory_order_relaxed) == id_) return;
  const std::lock_guard lock(current().mutex);
  pool_ = current().pool;
  id_ = current().id;
}

void ReusableExecutor::send(TaskPtr task) {
  for (;;) {
    task->set_pool(pool_);
    try {
      return pool_->submit(task);
    } catch (const Error&) {
      const auto before = pool_;
      follow();
      if (pool_ == before) throw;
      // Replaced since the task was packed: the current one takes it, unless it would read it otherwise.
      if (pool_->job_reducers() != before->job_reducers() || pool_->result_reducers() != before->result_reducers())
        throw ShutdownExecutorError(
            "the reusable executor was replaced, by one with other reducers, while this task was packed: submit it "
            "again");
    }
  }
}

void ReusableExecutor::shutdown(const ShutdownOptions& options) { pool_->shutdown(options); }
void ReusableExecutor::resize(int max_workers) { pool_->resize(max_workers); }
int ReusableExecutor::max_workers() const { return pool_->max_workers(); }
Stats ReusableExecutor::stats() const { return pool_->stats(); }

}  // namespace yoke
