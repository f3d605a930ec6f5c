// What the pool tells its observer, each thing once. Under the pool's lock: the sink only takes note.
#include "lib/local/local_pool.hpp"

namespace yoke::local {

using pool::TaskName;

/// The worker has told that its start is over, and its initializer has run.
void LocalPool::tell_ready(Worker& worker) {
  if (tell_ && worker.tell_ready_once()) tell_({EventKind::worker_ready, Clock::now(), worker.pid(), worker.rank()});
}

/// Once for each position.
void LocalPool::tell_started(Worker& worker, std::uint64_t position, const Task& task, Clock::time_point time) {
  if (tell_ && worker.tell_started_once(position))
    tell_({EventKind::task_started, time, worker.pid(), worker.rank(), TaskName(task)});
}

/// The task that it is seen to run, if there is one.
void LocalPool::tell_running(Worker& worker, Clock::time_point now) {
  const auto position = worker.channel.oldest_position();
  if (!position || !worker.channel.started(*position)) return;
  const TaskPtr task = worker.channel.oldest();
  if (worker.is_initializer(task)) return;
  const auto told = worker.channel.started_ns(*position);
  tell_started(worker, *position, *task, told ? Clock::time_point(std::chrono::nanoseconds(*told)) : now);
}

void LocalPool::tell_done(const Worker& worker, const Task& task, bool failed) {
  if (tell_) tell_({EventKind::task_done, Clock::now(), worker.pid(), worker.rank(), TaskName(task), failed});
}

}  // namespace yoke::local
