// /proc/self/cgroup says which group, /proc/self/mountinfo where it is to be seen.
#include "cgroup.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace yoke::tools {
namespace {

namespace fs = std::filesystem;

bool lists(const std::string& names, const std::string& name) {
  return ("," + names + ",").find("," + name + ",") != std::string::npos;
}

struct Place {
  int version = 0;
  std::string path;  // within the hierarchy
};

/// A line is "7:cpu,cpuacct:/path", or "0::/path" for version 2.
Place place_of(const std::string& controller) {
  Place place;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1);
    if (lists(names, controller)) return {1, line.substr(second + 1)};
    if (names.empty()) place = {2, line.substr(second + 1)};
  }
  return place;
}

struct Mount {
  fs::path point;
  std::string root;  // which group of the hierarchy is mounted there
};

/// A line is "31 23 0:28 ROOT POINT options - TYPE source super-options".
std::optional<Mount> mount_of(const std::string& controller, int version) {
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream head(line.substr(0, dash));
    std::istringstream tail(line.substr(dash + 3));
    std::string skip, root, point, type, source, options;
    head >> skip >> skip >> skip >> root >> point;
    tail >> type >> source >> options;
    if (version == 2 ? type == "cgroup2" : type == "cgroup" && lists(options, controller)) return Mount{point, root};
  }
  return {};
}

}  // namespace

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string field(const fs::path& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name) || line.size() == name.size()) continue;
    if (line[name.size()] != ':' && line[name.size()] != ' ') continue;
    const auto value = line.find_first_not_of(": \t", name.size());
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

Cgroup::Cgroup(const std::string& controller) {
  const Place place = place_of(controller);
  const auto mount = mount_of(controller, place.version);
  if (place.version == 0 || !mount) return;
  version_ = place.version;
  std::string below = place.path;
  if (mount->root != "/" && below.starts_with(mount->root)) below.erase(0, mount->root.size());
  for (fs::path path = fs::path(below).relative_path(); !path.empty(); path = path.parent_path()) {
    std::error_code none;
    if (fs::is_directory(mount->point / path, none)) folders_.push_back(mount->point / path);
  }
  folders_.push_back(mount->point);
}

std::optional<std::uint64_t> Cgroup::least(const std::string& file) const {
  std::optional<std::uint64_t> least;
  for (const auto& folder : folders_) {
    const std::string line = first_line(folder / file);
    std::uint64_t value = 0;
    if (std::from_chars(line.data(), line.data() + line.size(), value).ec == std::errc())
      least = std::min(least.value_or(value), value);
  }
  return least;
}

}  // namespace yoke::tools
