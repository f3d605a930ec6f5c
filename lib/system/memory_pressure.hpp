// Whether the kernel killed something for want of memory: the oom counters of this process's cgroup (v1 and v2) and of
// the machine. One thread at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace yoke::system {

class MemoryPressure {
 public:
  MemoryPressure();
  /// True if the kernel has killed for want of memory since the last call, or since the beginning.
  bool rose();

 private:
  std::uint64_t seen_;
};

/// Bytes that a process has resident; 0 if that cannot be known (any more).
std::uint64_t resident_memory(pid_t pid);

}  // namespace yoke::system
