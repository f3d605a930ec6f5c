// The cgroups that hold this process, version 1 and 2, as folders: for reading limits and counters there.
//
// Thread-safe; no file that is missing or strange is an error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace yoke::system {

/// One hierarchy in which this process has its place.
struct Cgroup {
  int version;                                 // 1 or 2
  std::vector<std::filesystem::path> folders;  // from the process's own up to the mount; some may not be there
};

/// The hierarchies with this controller ("cpu", "memory", "pids"): of version 1, then version 2's, which has all. Empty
/// where there is none. `root` stands for "/".
std::vector<Cgroup> own_cgroups(const std::string& controller, const std::filesystem::path& root = "/");

/// The least number in the files of this name in all of the folders; "max" is none.
std::optional<std::uint64_t> least_number(const Cgroup& cgroup, const std::string& file);

/// The first line of a file; empty if there is none.
std::string read_line(const std::filesystem::path& path);

/// What stands behind "name", and blanks or a colon, in a file of such lines; empty if there is none.
std::string read_field(const std::filesystem::path& path, const std::string& name);

/// The number that makes up the whole text, but for blanks around it.
std::optional<long long> parse_whole_number(const std::string& text);

}  // namespace yoke::system
