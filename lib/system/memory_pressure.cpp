#include "lib/system/memory_pressure.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "lib/system/cgroups.hpp"
#include "lib/system/cpu_count.hpp"
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

std::uint64_t number_in(const fs::path& file, const std::string& name) {
  const std::string text = read_field(file, name);
  const auto number = parse_whole_number(text.substr(0, text.find(" kB")));
  return number && *number > 0 ? static_cast<std::uint64_t>(*number) : 0;
}

/// The number that a file consists of; empty for "max".
std::optional<std::uint64_t> number_of(const fs::path& file) {
  const auto number = parse_whole_number(read_line(file));
  if (!number || *number < 0) return {};
  return static_cast<std::uint64_t>(*number);
}

/// What the group may still take before its limit, and what of it may go to swap.
std::optional<std::uint64_t> room_in(const fs::path& folder, int version, std::uint64_t free_swap) {
  const bool v1 = version == 1;
  const auto limit = number_of(folder / (v1 ? "memory.limit_in_bytes" : "memory.max"));
  const auto used = number_of(folder / (v1 ? "memory.usage_in_bytes" : "memory.current"));
  if (!limit || !used) return {};
  std::uint64_t room = *limit;
  for (const char* const file : {"inactive_file", "active_file"})
    room += number_in(folder / "memory.stat", v1 ? std::string("total_") + file : file);
  const auto room_below = [](std::optional<std::uint64_t> most, std::optional<std::uint64_t> now) {
    if (!most) return std::numeric_limits<std::uint64_t>::max();
    return *most - std::min(*most, now.value_or(0));
  };
  // Version 1 limits memory and swap together.
  const auto swap = room_below(number_of(folder / (v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max")),
                               number_of(folder / (v1 ? "memory.memsw.usage_in_bytes" : "memory.swap.current")));
  const std::uint64_t with_swap = std::min(swap, free_swap);
  return room - std::min(room, *used) + with_swap;
}

}  // namespace

MemoryPressure::MemoryPressure(fs::path root) : root_(std::move(root)), seen_(oom_kills()) {}

/// Where the counter is, is looked for once: that takes a quarter of a millisecond, in which a future would wait for
/// its error.
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

std::size_t memory_share() {
  static std::atomic<std::size_t> found{0};  // no guarded static: a fork might find it half made
  std::size_t share = found.load(std::memory_order_relaxed);
  if (share == 0) {
    share = std::max<std::size_t>(1, memory_limit() / 8 / static_cast<std::size_t>(usable_cpus()));
    found.store(share, std::memory_order_relaxed);
  }
  return share;
}

std::optional<std::uint64_t> available_memory(const fs::path& root) {
  const fs::path meminfo = root / "proc/meminfo";
  constexpr std::uint64_t kilobyte = 1024;
  std::optional<std::uint64_t> least;
  const std::uint64_t free_swap = number_in(meminfo, "SwapFree") * kilobyte;
  if (!read_field(meminfo, "MemAvailable").empty()) least = number_in(meminfo, "MemAvailable") * kilobyte + free_swap;
  for (const Cgroup& cgroup : own_cgroups("memory", root))
    for (const fs::path& folder : cgroup.folders)
      if (const auto room = room_in(folder, cgroup.version, free_swap)) least = std::min(least.value_or(*room), *room);
  return least;
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
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return {pages[1] * page, pages[1] > pages[2] ? (pages[1] - pages[2]) * page : 0};
}

}  // namespace yoke::system
