// Starts a program as a worker process: Boost.Process with vfork, and nothing of Boost.Process outside launcher.cpp.
//
// The child runs only async-signal-safe calls before exec. It gets: /dev/null as stdin, and the caller's stdout and
// stderr, unless `stdio` names others; exactly the descriptors of `keep_fds`, under the same numbers; an empty signal
// mask, default dispositions but SIGINT ignored; the effective user and group as its only ones; a process group of its
// own and no controlling terminal; what the program's main thread has that Linux keeps for each thread
// (main_thread_state.hpp); PR_SET_PDEATHSIG, which fires when the *thread* that called ends.
#pragma once

#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "lib/system/process_handle.hpp"

namespace yoke::system {

struct ResourceLimit {
  int resource;  // RLIMIT_CPU, …
  rlim_t value;  // soft and hard, never above the hard limit there is
};

struct LaunchSpec {
  int executable_fd = -1;  // of the program, already open: run as /proc/self/fd/N
  std::string path;  // of the program, where there is no such descriptor
  std::vector<std::string> arguments;  // argv, arguments[0] included
  std::vector<std::string> environment;  // "NAME=value", the whole of it
  std::vector<int> keep_fds;  // descriptors that the child keeps, close-on-exec or not here
  std::vector<ResourceLimit> limits;
  std::array<int, 3> stdio{-1, -1, -1};  // in place of stdin, stdout and stderr, above them; -1: as said above
  bool no_new_privileges = false;  // for good: exec gives the child, and what it starts, no further rights
  int death_signal = SIGKILL;  // when the thread that launched it ends; 0: none
};

/// Returns once exec has succeeded. Throws std::system_error with what failed (vfork, exec, limits); no zombie is left.
ProcessHandle launch(const LaunchSpec& spec);

/// An open descriptor of this process's own program, the very file that runs even if its path was replaced.
/// Opened at the first call and kept; -1 never: throws std::system_error.
int own_executable_fd();

/// This process's argv as the kernel has it (/proc/…/cmdline).
std::vector<std::string> own_arguments();

/// The program's environment (environment.hpp) without `unset`, and with `set` in place of what was there.
std::vector<std::string> child_environment(const std::vector<std::pair<std::string, std::string>>& set,
                                           const std::vector<std::string>& unset);

}  // namespace yoke::system
