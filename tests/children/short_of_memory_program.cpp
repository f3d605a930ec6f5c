// Puts itself into a memory cgroup with little room, and lets a worker run out of it. Prints the death report, and the
// counts of deaths; "skipped: WHY" where it cannot have such a cgroup.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lib/system/cgroups.hpp"
#include "yoke/yoke.hpp"

namespace {

namespace fs = std::filesystem;
namespace cgroups = yoke::system;

bool write_line(const fs::path& file, const std::string& line) {
  std::ofstream out(file);
  out << line << std::flush;
  return out.good();
}

/// A cgroup below this process's own, which it enters. Removed again at the end.
class SmallCgroup {
 public:
  SmallCgroup() {
    for (const auto& group : cgroups::own_cgroups("memory")) {
      std::error_code none;
      parent_ = group.folders.front();
      folder_ = parent_ / ("yoke-test-" + std::to_string(::getpid()));
      if (!fs::create_directory(folder_, none)) continue;
      const char* limit = group.version == 1 ? "memory.limit_in_bytes" : "memory.max";
      if (write_line(folder_ / limit, "100000000") && write_line(folder_ / "cgroup.procs", "0")) {
        write_line(folder_ / (group.version == 1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max"),
                   group.version == 1 ? "100000000" : "0");
        made_ = true;
        return;
      }
      fs::remove(folder_, none);
    }
  }
  ~SmallCgroup() {
    if (!made_) return;
    std::error_code none;
    write_line(parent_ / "cgroup.procs", "0");
    fs::remove(folder_, none);
  }
  SmallCgroup(const SmallCgroup&) = delete;
  SmallCgroup& operator=(const SmallCgroup&) = delete;
  bool made() const { return made_; }

 private:
  fs::path parent_, folder_;
  bool made_ = false;
};

int fill_memory() {
  std::vector<std::vector<char>> all;
  for (;;) all.emplace_back(1 << 20, 'x');
}
int die() { return ::kill(::getpid(), SIGKILL); }

std::string told(yoke::Future<int> future) {
  try {
    return "returned " + std::to_string(future.get());
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

int main() {
  const SmallCgroup cgroup;
  if (!cgroup.made()) {
    std::puts("skipped: no memory cgroup can be made here");
    return 0;
  }
  yoke::ProcessPoolExecutor pool(1);
  std::puts(told(pool.submit(fill_memory)).c_str());
  told(pool.submit(die));  // a plain SIGKILL is not taken for want of memory
  const auto causes = pool.stats().deaths_by_cause;
  std::printf("out of memory %d, then killed %d\n", static_cast<int>(causes.out_of_memory),
              static_cast<int>(causes.killed));
}
