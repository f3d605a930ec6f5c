// What the machine gives to this process: processors, memory, and what it does to a process that dies.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <yoke/process.hpp>

#include "finding.hpp"
#include "lib/system/cgroups.hpp"

namespace yoke::tools {
namespace {

constexpr std::uint64_t megabyte = 1 << 20;

std::string version_text(const std::vector<system::Cgroup>& groups) {
  return groups.empty() ? "not to be seen" : fmt::format("version {}", groups.front().version);
}

Finding processors() {
  const int usable = cpu_count();
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  const std::string found = fmt::format("{} usable of {} online", usable, online);
  if (usable == online) return {"processors", Verdict::ok, found, {}};
  return {"processors", Verdict::note, found,
          "affinity, a cgroup's quota or YOKE_MAX_CPU_COUNT sets the default number of workers"};
}

Finding cgroups() {
  const auto memory = system::own_cgroups("memory");
  const std::string found =
      fmt::format("cpu {}, memory {}", version_text(system::own_cgroups("cpu")), version_text(memory));
  if (!memory.empty()) return {"cgroup", Verdict::ok, found, {}};
  return {"cgroup", Verdict::note, found,
          "whether a killed worker ran out of memory is told by the kernel's counters alone"};
}

std::optional<std::uint64_t> memory_limit() {
  const auto groups = system::own_cgroups("memory");
  if (groups.empty()) return {};
  constexpr std::uint64_t none = 1ULL << 60;  // version 1 writes a number near 2^63 for no limit
  const auto limit =
      system::least_number(groups.front(), groups.front().version == 2 ? "memory.max" : "memory.limit_in_bytes");
  return limit && *limit < none ? limit : std::nullopt;
}

Finding memory() {
  const std::uint64_t available =
      std::strtoull(system::read_field("/proc/meminfo", "MemAvailable").c_str(), nullptr, 10) * 1024;
  const auto limit = memory_limit();
  const std::string found = fmt::format("{} MB available, cgroup limit {}", available / megabyte,
                                        limit ? fmt::format("{} MB", *limit / megabyte) : "none");
  constexpr std::uint64_t little = 256 * megabyte;
  const std::uint64_t usable = limit ? std::min(available, *limit) : available;
  if (available == 0 || usable >= little) return {"memory", Verdict::ok, found, {}};
  return {"memory", Verdict::note, found, "shared memory counts too; workers may be killed for want of it"};
}

Finding core_dumps() {
  rlimit limit{};
  ::getrlimit(RLIMIT_CORE, &limit);
  const std::string pattern = system::read_line("/proc/sys/kernel/core_pattern");
  const bool piped = pattern.starts_with('|');  // the limit holds for files alone
  const std::string found =
      fmt::format("core_pattern '{}', limit {} (ulimit -c)", pattern,
                  limit.rlim_cur == RLIM_INFINITY ? "unlimited" : fmt::format("{}", limit.rlim_cur));
  if (!piped && limit.rlim_cur == 0) return {"core dumps", Verdict::ok, found + ": none is written", {}};
  return {"core dumps", Verdict::note, found,
          "a large worker that crashes is reported at once, but is not gone until its dump is written"};
}

Finding seccomp() {
  const std::string mode = system::read_field("/proc/self/status", "Seccomp");
  if (mode.empty() || mode == "0") return {"seccomp", Verdict::ok, "no filter", {}};
  return {"seccomp", Verdict::note, fmt::format("mode {}: a filter, as in containers", mode),
          "it may forbid what is MISSING above"};
}

}  // namespace

void check_machine(Findings& findings) {
  for (const auto check : {processors, cgroups, memory, core_dumps, seccomp}) findings.push_back(check());
}

}  // namespace yoke::tools
