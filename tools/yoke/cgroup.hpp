// The limits that this process's cgroups set, version 1 and 2.
//
// What cannot be read or understood is no limit. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace yoke::tools {

/// The first line of a small file; empty if it cannot be read.
std::string first_line(const std::filesystem::path& path);
/// The value after "name" and blanks or a colon, in a file of such lines.
std::string field(const std::filesystem::path& path, const std::string& name);

class Cgroup {
 public:
  /// The group that holds this process for one controller: "memory", "cpu", "pids".
  explicit Cgroup(const std::string& controller);

  int version() const noexcept { return version_; }  // 0: the controller is not to be seen
  /// The least number in the file of this name in the group and those above it; "max" is none.
  std::optional<std::uint64_t> least(const std::string& file) const;
  /// The group and those above it, as folders.
  const std::vector<std::filesystem::path>& folders() const noexcept { return folders_; }

 private:
  int version_ = 0;
  std::vector<std::filesystem::path> folders_;
};

}  // namespace yoke::tools
