// The CPU quota of this process's cgroups, and the reading of small files that goes with it. For cpu_count.cpp alone.
//
// Thread-safe; no file that is missing or strange is an error.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace yoke::system {

/// The least quota, in CPUs and rounded up, from this process's cgroup up to the mount; INT_MAX if there is none.
int cpu_quota(const std::filesystem::path& root);

/// The first line of a file; empty if there is none.
std::string read_line(const std::filesystem::path& path);

/// The number that makes up the whole text, but for blanks around it.
std::optional<long long> parse_whole_number(const std::string& text);

}  // namespace yoke::system
