// cgroup v1 (cpu.cfs_quota_us) and v2 (cpu.max). A quota binds all that is below it, so each group up to the mount
// counts.
#include "lib/system/cpu_quota.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <sstream>

#include "lib/system/cgroups.hpp"

namespace yoke::system {
namespace {

namespace fs = std::filesystem;

constexpr int no_limit = std::numeric_limits<int>::max();
constexpr long long usual_period = 100'000;  // microseconds

int cpus_for(std::optional<long long> quota, std::optional<long long> period) {
  if (!quota || *quota <= 0 || (period && *period <= 0)) return no_limit;
  const long long per = period.value_or(usual_period);
  return static_cast<int>(std::min<long long>((*quota - 1) / per + 1, no_limit));
}

int quota_v1(const fs::path& cgroup) {
  return cpus_for(parse_whole_number(read_line(cgroup / "cpu.cfs_quota_us")),
                  parse_whole_number(read_line(cgroup / "cpu.cfs_period_us")));
}

int quota_v2(const fs::path& cgroup) {
  std::istringstream line(read_line(cgroup / "cpu.max"));
  std::string quota, period;
  line >> quota >> period;
  return cpus_for(parse_whole_number(quota), parse_whole_number(period));
}

}  // namespace

int cpu_quota(const fs::path& root) {
  int least = no_limit;
  for (const Cgroup& cgroup : own_cgroups("cpu", root))
    for (const fs::path& folder : cgroup.folders)
      least = std::min(least, cgroup.version == 1 ? quota_v1(folder) : quota_v2(folder));
  return least;
}

}  // namespace yoke::system
