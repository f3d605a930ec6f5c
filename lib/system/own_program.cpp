// This process as the kernel knows it: its program file, arguments and environment (declared in launcher.hpp).
// By thread-self where /proc/self tells nothing more, once main has ended by pthread_exit; not before, as it is
// /proc/self for which Valgrind tells of the program and not of itself.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <string_view>
#include <system_error>

#include "lib/system/environment.hpp"
#include "lib/system/fork_guard.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/read_text.hpp"
#include "lib/system/rights.hpp"

namespace yoke::system {
namespace {

[[noreturn]] void throw_errno(const char* what) { throw std::system_error(errno, std::system_category(), what); }

// An open file, recognised again: a program that closes "all" descriptors, to become a daemon for instance, closes this
// one too, and its number may then be another file's.
struct OpenProgram {
  int fd = -1;
  dev_t device = 0;
  ino_t inode = 0;

  [[nodiscard]] bool is_still_open() const {
    struct stat now{};
    return fd >= 0 && ::fstat(fd, &now) == 0 && now.st_dev == device && now.st_ino == inode;
  }

  void open() {
    UniqueFd opened;
    for (const char* path : {"/proc/self/exe", "/proc/thread-self/exe"}) {
      if (!opened) opened.reset(::open(path, O_RDONLY | O_CLOEXEC));
      // A program may be executable without being readable.
      if (!opened && errno == EACCES) opened.reset(::open(path, O_PATH | O_CLOEXEC));
    }
    if (!opened) throw_errno("opening /proc/thread-self/exe");
    opened = above_stdio(std::move(opened));
    struct stat status{};
    if (::fstat(opened.get(), &status) != 0) throw_errno("fstat of /proc/thread-self/exe");
    fd = opened.release();
    device = status.st_dev;
    inode = status.st_ino;
  }
};

std::string_view name_of(std::string_view variable) { return variable.substr(0, variable.find('=')); }

struct OwnProgram {
  std::mutex mutex;
  OpenProgram program;
};
OwnProgram& own_program() {
  static auto* const own = make_process_wide<OwnProgram>(ForkOrder::own_program);
  return *own;
}
[[maybe_unused]] const OwnProgram& made_at_load = own_program();

}  // namespace

int own_executable_fd() {
  auto& [mutex, program] = own_program();
  const std::lock_guard lock(mutex);
  if (!program.is_still_open()) program.open();
  return program.fd;
}

std::vector<std::string> own_arguments() {
  std::string text = read_text("/proc/self/cmdline");
  if (text.empty()) text = read_text("/proc/thread-self/cmdline");
  if (text.empty()) throw_errno("/proc/thread-self/cmdline");
  std::vector<std::string> arguments;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\0', begin), text.size());
    arguments.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (started_by_loader()) {  // what it was told to run may be named from a folder that the program has left
    const std::string program = main_module().path;
    const auto name = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
    const auto named = std::find_if(arguments.begin() + 1, arguments.end(),
                                    [&](const std::string& argument) { return name(argument) == name(program); });
    if (named != arguments.end()) *named = program;
  }
  return arguments;
}

std::vector<std::string> child_environment(const std::vector<std::pair<std::string, std::string>>& set,
                                           const std::vector<std::string>& unset) {
  std::vector<std::string> all;
  const auto program = environment();
  for (const std::string& variable : *program) {
    const std::string_view name = name_of(variable);
    if (name.starts_with("YOKE_") && outranks_caller()) continue;  // the child does not, and would heed them
    const bool is_set = std::ranges::any_of(set, [&](const auto& pair) { return pair.first == name; });
    if (!is_set && std::ranges::find(unset, name) == unset.end()) all.push_back(variable);
  }
  for (const auto& [name, value] : set) all.push_back(name + '=' + value);
  return all;
}

}  // namespace yoke::system
