#include "lib/system/memory_pressure.hpp"

#include <fmt/format.h>

#include <fstream>
#include <string>

namespace yoke::system {
namespace {

/// The number behind `key` in a file of "key value" lines; 0 if there is none.
std::uint64_t counter(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string name;
  std::uint64_t value = 0;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t digits = line.find_first_of("0123456789", key.size());
    if (digits == std::string::npos) continue;
    value = std::stoull(line.substr(digits));
    break;
  }
  return value;
}

/// Every oom kill that could have been one of ours: of the cgroups of this process, and of the machine.
std::uint64_t oom_kills() {
  std::uint64_t kills = counter("/proc/vmstat", "oom_kill ");
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty())
      kills += counter("/sys/fs/cgroup" + path + "/memory.events", "oom_kill ");
    else if (controllers == "memory")
      kills += counter("/sys/fs/cgroup/memory" + path + "/memory.oom_control", "oom_kill ");
  }
  return kills;
}

}  // namespace

MemoryPressure::MemoryPressure() : seen_(oom_kills()) {}

bool MemoryPressure::rose() {
  const std::uint64_t now = oom_kills();
  const bool more = now > seen_;
  seen_ = now;
  return more;
}

std::uint64_t resident_memory(pid_t pid) { return 1024 * counter(fmt::format("/proc/{}/status", pid), "VmRSS:"); }

}  // namespace yoke::system
