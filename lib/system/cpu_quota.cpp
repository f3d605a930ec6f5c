// cgroup v1 (cpu.cfs_quota_us) and v2 (cpu.max), found by /proc/self/cgroup and /proc/self/mountinfo.
#include "lib/system/cpu_quota.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace yoke::system {
namespace {

namespace fs = std::filesystem;

constexpr int no_limit = std::numeric_limits<int>::max();
constexpr long long usual_period = 100'000;  // microseconds

// A cgroup hierarchy that can hold a quota: where it is mounted, and which of its cgroups is seen there as its root.
struct Mount {
  fs::path point;
  std::string root;
};

// This process's place in the hierarchies, from /proc/self/cgroup.
struct Membership {
  std::optional<std::string> v1;  // of the controller "cpu"
  std::optional<std::string> v2;
};

bool lists(const std::string& comma_separated, std::string_view wanted) {
  std::istringstream items(comma_separated);
  for (std::string item; std::getline(items, item, ',');) {
    if (item == wanted) return true;
  }
  return false;
}

Membership read_membership(const fs::path& root) {
  Membership membership;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) membership.v2 = line.substr(second + 1);
    if (lists(controllers, "cpu")) membership.v1 = line.substr(second + 1);
  }
  return membership;
}

// mountinfo writes blanks and backslashes as \040 and the like.
std::string unescape(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '\\' && i + 3 < text.size() && std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      result += static_cast<char>(code);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

fs::path below(const fs::path& root, const std::string& absolute) { return root / fs::path(absolute).relative_path(); }

// proc(5): number parent device root point options [optional fields] - type source super-options
std::vector<Mount> read_mounts(const fs::path& root, bool is_v2) {
  std::vector<Mount> mounts;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const auto separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    std::istringstream front(line.substr(0, separator));
    std::istringstream back(line.substr(separator + 3));
    std::string skipped, mount_root, point, type, options;
    front >> skipped >> skipped >> skipped >> mount_root >> point;
    back >> type >> skipped >> options;
    if (is_v2 ? type == "cgroup2" : type == "cgroup" && lists(options, "cpu")) {
      mounts.push_back({below(root, unescape(point)), unescape(mount_root)});
    }
  }
  if (!mounts.empty()) return mounts;
  const std::vector<const char*> usual = is_v2 ? std::vector<const char*>{"", "unified"}
                                               : std::vector<const char*>{"cpu", "cpu,cpuacct", "cpuacct,cpu"};
  for (const char* name : usual) mounts.push_back({root / "sys/fs/cgroup" / name, "/"});
  return mounts;
}

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

// From the cgroup at `path` up to the mount, each of them: a quota binds all that is below it.
int least_quota(const Mount& mount, const std::string& path, int (*quota)(const fs::path&)) {
  fs::path inside = path;
  if (mount.root != "/") {
    // A container often sees only its own part of the hierarchy, and yet the whole path.
    const std::size_t size = mount.root.size();
    const bool is_below = path.starts_with(mount.root) && (path.size() == size || path[size] == '/');
    inside = is_below ? path.substr(size) : "/";
  }
  inside = inside.relative_path();
  int least = quota(mount.point);
  // "..": a cgroup outside of this process's namespace, which the mount does not show.
  if (std::ranges::find(inside, "..") != inside.end()) return least;
  fs::path at = mount.point;
  for (const fs::path& name : inside) {
    at /= name;
    least = std::min(least, quota(at));
  }
  return least;
}

}  // namespace

int cpu_quota(const fs::path& root) {
  const Membership membership = read_membership(root);
  int least = no_limit;
  const auto look_at = [&](const std::vector<Mount>& mounts, const std::string& path, int (*quota)(const fs::path&)) {
    for (const Mount& mount : mounts) least = std::min(least, least_quota(mount, path, quota));
  };
  if (membership.v1) look_at(read_mounts(root, false), *membership.v1, quota_v1);
  if (membership.v2) look_at(read_mounts(root, true), *membership.v2, quota_v2);
  return least;
}

std::string read_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<long long> parse_whole_number(const std::string& text) {
  constexpr const char* blanks = " \t\r\n";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string::npos) return {};
  const auto end = text.find_last_not_of(blanks) + 1;
  long long number = 0;
  const auto [stopped, error] = std::from_chars(text.data() + begin, text.data() + end, number);
  if (error != std::errc() || stopped != text.data() + end) return {};
  return number;
}

}  // namespace yoke::system
