// How many CPUs this process may use: the least of what is online, the calling thread's affinity, the CPU quotas of its
// cgroups (v1 and v2, the whole path up to the mount) and the variable YOKE_MAX_CPU_COUNT.
//
// Thread-safe; reads the system anew at each call, starts no process. Never below 1, never throws for what it cannot
// read or does not understand: such a source is no limit.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace yoke::system {

/// Where to look; the defaults are the real system. What a test sets replaces the source that it stands for.
struct CpuSources {
  std::filesystem::path root = "/";  // holds proc/self/, sys/fs/cgroup/ and sys/devices/system/cpu/
  std::optional<std::vector<int>> affinity;  // CPU numbers; otherwise sched_getaffinity
  std::optional<int> online;  // otherwise sys/devices/system/cpu/online
  std::optional<std::string> limit;  // otherwise the variable YOKE_MAX_CPU_COUNT
};

int usable_cpus(const CpuSources& sources = {});

/// The cores behind the CPUs of the affinity, hardware threads of a core counted once; never more than usable_cpus().
int physical_cores(const CpuSources& sources = {});

}  // namespace yoke::system
