#include "lib/system/memory_pressure.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "lib/system/cgroups.hpp"
#include "lib/system/read_text.hpp"

namespace yoke::system {

namespace fs = std::filesystem;

namespace {

std::optional<std::uint64_t> kills_told_by(const fs::path& file) {
  const auto kills = parse_whole_number(read_field(file, "oom_kill"));
  if (!kills || *kills < 0) return {};
  return static_cast<std::uint64_t>(*kills);
}

fs::path find_counter(const fs::path& root) {
  for (const Cgroup& cgroup : own_cgroups("memory", root)) {
    for (const fs::path& folder : cgroup.folders) {
      fs::path file = folder / (cgroup.version == 1 ? "memory.oom_control" : "memory.events");
      if (kills_told_by(file)) return file;
    }
  }
  return root / "proc/vmstat";
}

}  // namespace

MemoryPressure::MemoryPressure(fs::path root) : root_(std::move(root)), seen_(oom_kills()) {}

/// Where the counter is, is looked for once: that takes a quarter of a millisecond, in which a future would wait for its
/// error.
std::uint64_t MemoryPressure::oom_kills() {
  std::string groups = read_text((root_ / "proc/self/cgroup").c_str());
  if (counter_.empty() || groups != groups_) {
    groups_ = std::move(groups);
    counter_ = find_counter(root_);
  }
  return kills_told_by(counter_).value_or(0);
}

bool MemoryPressure::rose() {
  const std::uint64_t now = oom_kills();
  const bool more = now > seen_;
  seen_ = now;
  return more;
}

std::size_t memory_limit(const fs::path& root) {
  const auto pages = static_cast<std::uint64_t>(std::max(::sysconf(_SC_PHYS_PAGES), 0L));
  std::uint64_t least = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  for (const Cgroup& cgroup : own_cgroups("memory", root)) {
    const char* const file = cgroup.version == 1 ? "memory.limit_in_bytes" : "memory.max";
    least = std::min(least, least_number(cgroup, file).value_or(least));
  }
  return static_cast<std::size_t>(least);
}

MemoryUse memory_use(pid_t pid) {
  // statm: size resident shared text lib data dt, in pages
  const std::string line = read_line(fmt::format("/proc/{}/statm", pid));
  std::uint64_t pages[3] = {};
  const char* at = line.data();
  const char* const end = at + line.size();
  for (std::uint64_t& number : pages) {
    while (at != end && *at == ' ') ++at;
    at = std::from_chars(at, end, number).ptr;
  }
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return {pages[1] * page, pages[1] > pages[2] ? (pages[1] - pages[2]) * page : 0};
}

}  // namespace yoke::system
