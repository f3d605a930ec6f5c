// Reading and judging /proc/PID/stat; tried on Linux 6.18, with the sources of 5.10 to 6.18 for the rest.
#include "lib/system/process_stat.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>

#include "lib/system/unique_fd.hpp"

namespace yoke::system {
namespace {

// From the kernel's sched.h. Each is set on the way to the end, and there is no way back from it.
constexpr unsigned long pf_exiting = 0x4;
constexpr unsigned long pf_dumpcore = 0x200;
constexpr unsigned long pf_signaled = 0x400;

struct Stat {
  char state = '?';
  pid_t parent = 0;
  unsigned long flags = 0;
  long threads = 0;
  std::uint64_t start_time = 0;
  unsigned long pending_signals = 0;  // of this thread alone
  unsigned long virtual_size = 0;
  int exit_code = 0;

  [[nodiscard]] bool thread_ended() const {
    return state == 'Z' || state == 'X' || (flags & (pf_exiting | pf_dumpcore | pf_signaled)) != 0;
  }
  // Nothing saves it any more, though it may take a while to be scheduled and see that.
  [[nodiscard]] bool is_killed() const { return (pending_signals & 1UL << (SIGKILL - 1)) != 0; }
  // Of one that ended: its memory is detached, which comes after its exit code was set.
  [[nodiscard]] bool past_exit_code() const { return state == 'Z' || state == 'X' || virtual_size == 0; }
  // A stopped process shows the stop signal in the place of an exit code; no process ends by one of these.
  [[nodiscard]] bool ended_by_signal() const {
    const int signal = exit_code & 0x7f;
    return signal != 0 && signal != SIGSTOP && signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU &&
           signal != 0x7f;
  }
};

template <class Number>
void parse(std::string_view field, Number& number) {
  std::from_chars(field.data(), field.data() + field.size(), number);
}

std::optional<Stat> read_stat(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::array<char, 2048> buffer;
  const ssize_t size = ::read(fd.get(), buffer.data(), buffer.size());
  if (size <= 0) return {};
  std::string_view rest(buffer.data(), static_cast<std::size_t>(size));
  // The program's name stands in parentheses and may hold anything, parentheses and spaces too.
  const std::size_t name_end = rest.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= rest.size()) return {};
  rest.remove_prefix(name_end + 2);

  Stat stat;
  int field = 3;  // numbered as in proc(5)
  for (; !rest.empty(); ++field) {
    const std::size_t end = rest.find_first_of(" \n");
    const std::string_view text = rest.substr(0, end);
    if (field == 3 && !text.empty()) stat.state = text[0];
    if (field == 4) parse(text, stat.parent);
    if (field == 9) parse(text, stat.flags);
    if (field == 20) parse(text, stat.threads);
    if (field == 22) parse(text, stat.start_time);
    if (field == 23) parse(text, stat.virtual_size);
    if (field == 31) parse(text, stat.pending_signals);
    if (field == 52) parse(text, stat.exit_code);
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  if (field < 52) return {};
  return stat;
}

std::optional<Stat> read_stat_of_child(pid_t child) {
  const auto stat = read_stat("/proc/" + std::to_string(child) + "/stat");
  if (!stat || stat->parent != ::getpid()) return {};
  return stat;
}

// To those who may not trace the process the kernel shows 0: of another user's, and of one that is not dumpable, which
// cannot be seen any more once its memory is gone.
bool may_hide_exit_code() { return ::geteuid() != 0; }

bool all_threads_ended(const std::string& process) {
  const std::string tasks = process + "/task";
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(tasks.c_str()), ::closedir);
  if (!directory) return true;  // gone meanwhile
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] == '.') continue;
    const auto thread = read_stat(tasks + '/' + entry->d_name + "/stat");
    if (thread && !thread->thread_ended() && !thread->is_killed()) return false;
  }
  return true;
}

}  // namespace

std::optional<ProcessEnd> look_for_end(pid_t child) {
  const std::string process = "/proc/" + std::to_string(child);
  // A look of 10 µs each; the way from the first sign of the end to the exit code is a few of them.
  constexpr int most_looks = 20;
  for (int looks = 0; looks < most_looks; ++looks) {
    const auto stat = read_stat_of_child(child);
    if (!stat) return {};
    if (!stat->thread_ended()) return ProcessEnd{};
    if (stat->ended_by_signal()) return ProcessEnd{true, stat->exit_code};
    // Main may have ended alone, by pthread_exit: the process lives on in its other threads.
    if (stat->threads > 1 && !all_threads_ended(process)) return ProcessEnd{};
    if (stat->exit_code == 0 && may_hide_exit_code()) return ProcessEnd{true, {}};
    if (stat->exit_code != 0 ? WIFEXITED(stat->exit_code) : stat->past_exit_code()) {
      return ProcessEnd{true, stat->exit_code};
    }
  }
  return ProcessEnd{true, {}};
}

std::optional<std::uint64_t> start_time_of(pid_t child) noexcept {
  const auto stat = read_stat_of_child(child);
  if (!stat) return {};
  return stat->start_time;
}

bool may_write_core(pid_t child) {
  const auto stat = read_stat_of_child(child);
  return stat && stat->state != 'Z' && stat->state != 'X' && (stat->flags & (pf_dumpcore | pf_signaled)) != 0 &&
         (stat->flags & pf_exiting) == 0;
}

bool is_stopped(pid_t child) {
  const auto stat = read_stat_of_child(child);
  return stat && stat->state == 'T';
}

}  // namespace yoke::system
