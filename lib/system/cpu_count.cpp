// Affinity, CPU lists and core topology; the cgroups are in cpu_quota.cpp.
#include "lib/system/cpu_count.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <memory>
#include <set>

#include "lib/system/cgroups.hpp"
#include "lib/system/cpu_quota.hpp"
#include "lib/system/rights.hpp"

namespace yoke::system {
namespace {

constexpr int no_limit = std::numeric_limits<int>::max();

// "0-3,8,10-11", as in sysfs. What is not understood ends the list.
std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  const char* at = text.c_str();
  for (;;) {
    char* end = nullptr;
    const long first = std::strtol(at, &end, 10);
    if (end == at) return cpus;
    long last = first;
    if (*end == '-') {
      at = end + 1;
      last = std::strtol(at, &end, 10);
      if (end == at) return cpus;
    }
    constexpr long most = 1 << 16;
    for (long cpu = std::max(first, 0L); cpu <= std::min(last, most); ++cpu) cpus.push_back(static_cast<int>(cpu));
    if (*end != ',') return cpus;
    at = end + 1;
  }
}

std::vector<int> affinity_of_thread() {
  // The set of 1024 CPUs that libc offers is too small for large machines: the kernel then says EINVAL.
  for (std::size_t count = CPU_SETSIZE; count <= (std::size_t{1} << 18); count *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(count), [](cpu_set_t* s) { CPU_FREE(s); });
    if (!set) break;
    const std::size_t size = CPU_ALLOC_SIZE(count);
    CPU_ZERO_S(size, set.get());
    if (::sched_getaffinity(0, size, set.get()) == 0) {
      std::vector<int> cpus;
      for (std::size_t cpu = 0; cpu < count; ++cpu) {
        if (CPU_ISSET_S(cpu, size, set.get())) cpus.push_back(static_cast<int>(cpu));
      }
      return cpus;
    }
    if (errno != EINVAL) break;
  }
  return {};
}

std::filesystem::path cpu_folder(const CpuSources& sources) { return sources.root / "sys/devices/system/cpu"; }

std::vector<int> affinity(const CpuSources& sources) {
  return sources.affinity ? *sources.affinity : affinity_of_thread();
}

int online(const CpuSources& sources) {
  if (sources.online) return *sources.online;
  const auto listed = parse_cpu_list(read_line(cpu_folder(sources) / "online"));
  if (!listed.empty()) return static_cast<int>(listed.size());
  const long counted = sources.root == "/" ? ::sysconf(_SC_NPROCESSORS_ONLN) : 0;
  return counted > 0 ? static_cast<int>(counted) : no_limit;
}

int limit_by_user(const CpuSources& sources) {
  const auto number =
      parse_whole_number(sources.limit ? *sources.limit : own_variable("YOKE_MAX_CPU_COUNT").value_or(""));
  return number && *number >= 0 ? static_cast<int>(std::min<long long>(*number, no_limit)) : no_limit;
}

// The same text for all hardware threads of one core.
std::string core_of(const CpuSources& sources, int cpu) {
  const auto topology = cpu_folder(sources) / ("cpu" + std::to_string(cpu)) / "topology";
  if (const auto siblings = read_line(topology / "thread_siblings_list"); !siblings.empty()) return siblings;
  const auto core = read_line(topology / "core_id");
  if (core.empty()) return "cpu " + std::to_string(cpu);
  return "core " + core + " of package " + read_line(topology / "physical_package_id");
}

}  // namespace

int usable_cpus(const CpuSources& sources) {
  const auto allowed = affinity(sources);
  const int by_affinity = allowed.empty() ? no_limit : static_cast<int>(allowed.size());
  const int least = std::min({online(sources), by_affinity, cpu_quota(sources.root), limit_by_user(sources)});
  // Nothing known at all is no reason to start two billion workers.
  return least == no_limit ? 1 : std::max(least, 1);
}

int physical_cores(const CpuSources& sources) {
  std::set<std::string> cores;
  for (const int cpu : affinity(sources)) cores.insert(core_of(sources, cpu));
  const int usable = usable_cpus(sources);
  return cores.empty() ? usable : std::min(usable, static_cast<int>(cores.size()));
}

}  // namespace yoke::system
