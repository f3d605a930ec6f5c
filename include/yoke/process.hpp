// This process: whether it is a worker, and how many processors it may use.
#pragma once

#include "yoke/language.hpp"

#include "yoke/export.hpp"

namespace yoke {

struct CpuCount {
  bool only_physical_cores = false;
};
/// How many workers make sense here: the least of the processors online, this process's affinity, the quotas of its
/// cgroups (v1 and v2, rounded up) and YOKE_MAX_CPU_COUNT; at least 1. Any thread.
YOKE_API int cpu_count(CpuCount options = {});

/// First line of main in programs where the start hook cannot work (fully static glibc links); harmless elsewhere.
/// In a worker process it runs the worker and does not return.
YOKE_API void init(int& argc, char**& argv);

namespace this_worker {
YOKE_API bool is_worker() noexcept;
/// 0..max_workers-1, unique among the serving workers of a pool, reused after a death; -1 outside a worker. A spare
/// worker, which runs nothing but its initializer, has max_workers or more until it takes the place of another.
YOKE_API int rank() noexcept;
/// How many pools deep this process is: 0 for the program itself.
YOKE_API int depth() noexcept;
/// Tells that the task is alive: stats() of the pool shows how long ago the last one was. Costs one look at the clock.
YOKE_API void heartbeat() noexcept;
}  // namespace this_worker

}  // namespace yoke
