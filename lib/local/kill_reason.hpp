// Why a pool ends a worker that has not ended by itself.
#pragma once

namespace yoke::local {

enum class KillReason {
  none,
  pool_ends,
  cancelled,    // cancel(kill) of its task
  timed_out,    // its task ran out of time, and may be tried again
  over_memory,  // above max_worker_memory: counts as a death
  not_started,  // it was not ready within start_timeout: breaks the pool
  misbehaved    // it is no worker any more, or cannot be trusted: counts as a death
};

/// The caller wanted its task ended, and the worker was in the way.
constexpr bool is_wanted_by_caller(KillReason reason) {
  return reason == KillReason::cancelled || reason == KillReason::timed_out;
}
/// SIGTERM comes first, and kill_grace: the task may have something to put in order.
constexpr bool is_gentle(KillReason reason) { return is_wanted_by_caller(reason); }
/// The task that was first in line may be what brought the worker to this.
constexpr bool may_blame_task(KillReason reason) {
  return reason == KillReason::misbehaved || reason == KillReason::over_memory;
}

}  // namespace yoke::local
