#include "lib/system/process_memory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/system/memory_pressure.hpp"
#include "lib/system/read_text.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::system {
namespace {

constexpr std::size_t most_processes = 1000;  // that are looked at

struct Folder {
  explicit Folder(const std::string& path) : stream(::opendir(path.c_str()), &::closedir) {}
  /// The next name that is a number; empty at the end.
  std::string_view next() {
    while (const dirent* entry = stream ? ::readdir(stream.get()) : nullptr)
      if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') return entry->d_name;
    return {};
  }
  std::unique_ptr<DIR, int (*)(DIR*)> stream;
};

/// The process and what it, and those, have started.
std::vector<pid_t> with_descendants(pid_t pid) {
  std::vector<pid_t> all{pid};
  for (std::size_t i = 0; i != all.size() && all.size() < most_processes; ++i) {
    const std::string tasks = fmt::format("/proc/{}/task", all[i]);
    Folder folder(tasks);
    for (std::string_view thread = folder.next(); !thread.empty(); thread = folder.next()) {
      const std::string children = read_text(fmt::format("{}/{}/children", tasks, thread).c_str());
      const char* at = children.data();
      const char* const end = at + children.size();
      while (at != end) {
        pid_t child = 0;
        const auto [next, error] = std::from_chars(at, end, child);
        if (error == std::errc()) all.push_back(child);
        at = std::min(end, next + 1);
      }
    }
  }
  return all;
}

std::uint64_t bytes_in_pipe(const std::string& path) {
  const UniqueFd pipe(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int bytes = 0;
  return pipe && ::ioctl(pipe.get(), FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

/// What a process holds by its descriptors, each file once in `seen`.
std::uint64_t held_in_kernel(pid_t pid, std::set<std::pair<dev_t, ino_t>>& seen) {
  constexpr std::string_view memory = "/memfd:", own = "/memfd:yoke-", pipe = "pipe:[";
  constexpr std::uint64_t block = 512;
  std::uint64_t bytes = 0;
  const std::string path = fmt::format("/proc/{}/fd", pid);
  Folder folder(path);
  for (std::string_view name = folder.next(); !name.empty(); name = folder.next()) {
    const std::string file = fmt::format("{}/{}", path, name);
    char target[16] = {};
    const ssize_t length = ::readlink(file.c_str(), target, sizeof target);
    const std::string_view link(target, length > 0 ? static_cast<std::size_t>(length) : 0);
    const bool is_pipe = link.starts_with(pipe);
    if (!is_pipe && (!link.starts_with(memory) || link.starts_with(own))) continue;
    struct stat status{};
    if (::stat(file.c_str(), &status) != 0) continue;
    if (!seen.emplace(status.st_dev, status.st_ino).second) continue;
    bytes += is_pipe ? bytes_in_pipe(file) : static_cast<std::uint64_t>(status.st_blocks) * block;
  }
  return bytes;
}

}  // namespace

std::uint64_t memory_with_descendants(pid_t pid) {
  std::uint64_t bytes = 0;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const pid_t each : with_descendants(pid)) bytes += memory_use(each).own + held_in_kernel(each, seen);
  return bytes;
}

}  // namespace yoke::system
