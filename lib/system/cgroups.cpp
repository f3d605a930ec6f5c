// /proc/self/cgroup says which groups, /proc/self/mountinfo where they are to be seen.
#include "lib/system/cgroups.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>

#include "lib/system/read_text.hpp"

namespace yoke::system {
namespace {

namespace fs = std::filesystem;

// A hierarchy: where it is mounted, and which of its cgroups is seen there as its root.
struct Mount {
  fs::path point;
  std::string root;
};

// This process's place in the hierarchies, from /proc/self/cgroup.
struct Membership {
  std::optional<std::string> v1;  // of the controller
  std::optional<std::string> v2;
};

bool lists(const std::string& comma_separated, std::string_view wanted) {
  std::istringstream items(comma_separated);
  for (std::string item; std::getline(items, item, ',');) {
    if (item == wanted) return true;
  }
  return false;
}

Membership read_membership(const fs::path& root, const std::string& controller) {
  Membership membership;
  std::istringstream file(read_text((root / "proc/self/cgroup").c_str()));
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) membership.v2 = line.substr(second + 1);
    if (lists(controllers, controller)) membership.v1 = line.substr(second + 1);
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

// Where the hierarchies are mounted when /proc does not tell.
std::vector<std::string> usual_places(const std::string& controller, bool is_v2) {
  if (is_v2) return {"", "unified"};
  if (controller == "cpu") return {"cpu", "cpu,cpuacct", "cpuacct,cpu"};
  return {controller};
}

// proc(5): number parent device root point options [optional fields] - type source super-options
std::vector<Mount> read_mounts(const fs::path& root, const std::string& controller, bool is_v2) {
  std::vector<Mount> mounts;
  std::istringstream file(read_text((root / "proc/self/mountinfo").c_str()));
  for (std::string line; std::getline(file, line);) {
    const auto separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    std::istringstream front(line.substr(0, separator));
    std::istringstream back(line.substr(separator + 3));
    std::string skipped, mount_root, point, type, options;
    front >> skipped >> skipped >> skipped >> mount_root >> point;
    back >> type >> skipped >> options;
    if (is_v2 ? type == "cgroup2" : type == "cgroup" && lists(options, controller)) {
      mounts.push_back({below(root, unescape(point)), unescape(mount_root)});
    }
  }
  if (!mounts.empty()) return mounts;
  for (const auto& name : usual_places(controller, is_v2)) mounts.push_back({root / "sys/fs/cgroup" / name, "/"});
  return mounts;
}

std::vector<fs::path> folders_of(const Mount& mount, const std::string& path) {
  fs::path inside = path;
  if (mount.root != "/") {
    // A container often sees only its own part of the hierarchy, and yet the whole path.
    const std::size_t size = mount.root.size();
    const bool is_below = path.starts_with(mount.root) && (path.size() == size || path[size] == '/');
    inside = is_below ? path.substr(size) : "/";
  }
  inside = inside.relative_path();
  std::vector<fs::path> folders{mount.point};
  // "..": a cgroup outside of this process's namespace, which the mount does not show.
  if (std::ranges::find(inside, "..") == inside.end())
    for (const fs::path& name : inside) folders.push_back(folders.back() / name);
  std::ranges::reverse(folders);
  return folders;
}

}  // namespace

std::vector<Cgroup> own_cgroups(const std::string& controller, const fs::path& root) {
  const Membership membership = read_membership(root, controller);
  std::vector<Cgroup> all;
  const auto add = [&](int version, const std::optional<std::string>& path) {
    if (!path) return;
    for (const Mount& mount : read_mounts(root, controller, version == 2))
      all.push_back({version, folders_of(mount, *path)});
  };
  add(1, membership.v1);
  add(2, membership.v2);
  return all;
}

std::optional<std::uint64_t> least_number(const Cgroup& cgroup, const std::string& file) {
  std::optional<std::uint64_t> least;
  for (const fs::path& folder : cgroup.folders) {
    const auto number = parse_whole_number(read_line(folder / file));
    if (number && *number >= 0) least = std::min(least.value_or(UINT64_MAX), static_cast<std::uint64_t>(*number));
  }
  return least;
}

std::string read_line(const fs::path& path) {
  const std::string text = read_text(path.c_str());
  return text.substr(0, text.find('\n'));
}

std::string read_field(const fs::path& path, const std::string& name) {
  std::istringstream file(read_text(path.c_str()));
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name) || line.size() == name.size()) continue;
    if (line[name.size()] != ':' && line[name.size()] != ' ') continue;
    const auto value = line.find_first_not_of(": \t", name.size());
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
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
