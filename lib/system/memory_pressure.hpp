// Memory as the kernel counts it: whether it killed something for want of it, how much there is, and what a process has
// resident.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace yoke::system {

/// The oom counter of this process's memory cgroup (v1 or v2), which counts the kills in that group alone; where there
/// is none, as in the root group, the machine's. One thread at a time.
class MemoryPressure {
 public:
  explicit MemoryPressure(std::filesystem::path root = "/");
  /// True if the kernel has killed for want of memory since the last call, or since the beginning.
  bool rose();

 private:
  std::uint64_t oom_kills();
  std::filesystem::path root_;
  std::string groups_;  // this process's, when the counter was looked for
  std::filesystem::path counter_;  // the file
  std::uint64_t seen_;
};

/// Bytes of memory that this process may have: the machine's, or the least limit of its memory cgroups. Thread-safe.
std::size_t memory_limit(const std::filesystem::path& root = "/");

/// What may be kept warm in one place: a share of what this process, and as many workers as there are processors, may
/// have. Found once. It reads files, and the environment under its lock: not to be asked for the first time under
/// another.
std::size_t memory_share();

/// Bytes that can still be had before the kernel kills something for want of memory, in the machine and in each of this
/// process's memory cgroups; what it would take back from the files that it has read counts as free. Empty if nothing
/// tells. Thread-safe.
std::optional<std::uint64_t> available_memory(const std::filesystem::path& root = "/");

/// Bytes that a process has resident; zeros if that cannot be known (any more). Thread-safe.
struct MemoryUse {
  std::uint64_t resident = 0;
  std::uint64_t own = 0;  // of those, what is neither shared memory nor mapped from files
};
MemoryUse memory_use(pid_t pid);

}  // namespace yoke::system
