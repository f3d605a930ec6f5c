// Tries the system calls that the pool lives on.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>

#include "finding.hpp"
#include "lib/system/unique_fd.hpp"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace yoke::tools {
namespace {

std::string text_of(int error) { return std::generic_category().message(error); }

Finding memfd() {
  const system::UniqueFd fd(::memfd_create("yoke doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd)
    return {"memfd_create", Verdict::missing, text_of(errno),
            "workers have no memory to share; Linux 3.17 has it, a seccomp filter may forbid it"};
  if (const int error = ::posix_fallocate(fd.get(), 0, 1 << 20); error != 0)
    return {"memfd_create", Verdict::missing, "1 MB of shared memory: " + text_of(error),
            "free some memory, or raise the limit of the cgroup"};
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0)
    return {"memfd_create", Verdict::missing, "works, but cannot be sealed: " + text_of(errno),
            "workers are not given memory that they could shrink or write to at will; Linux 5.1 has all seals"};
  return {"memfd_create", Verdict::ok, "works, and can be sealed", {}};
}

Finding pidfd() {
  const system::UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!fd)
    return {"pidfd_open", Verdict::note, "not to be had: " + text_of(errno),
            "a worker is known by its pid and the time of its start; Linux 5.3 has it, a seccomp filter may forbid it"};
  return {"pidfd_open", Verdict::ok, "works", {}};
}

Finding futex_waitv() {
  // With nothing to wait for the call fails as invalid, where it exists.
  ::syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0);
  if (errno == EINVAL)
    return {"futex_waitv", Verdict::ok, "works: a death is seen before the worker's memory is gone", {}};
  return {"futex_waitv", Verdict::note, "not to be had: " + text_of(errno),
          "deaths, and results that no thread waits for, are seen by looking every 1 to 2 ms; Linux 5.16 has it"};
}

Finding close_range() {
  constexpr unsigned cloexec = 4;
  if (::syscall(SYS_close_range, ~0U, ~0U, cloexec) == 0) return {"close_range", Verdict::ok, "works", {}};
  return {"close_range", Verdict::note, "not to be had: " + text_of(errno),
          "each start of a worker lists /proc/self/fd instead"};
}

Finding proc() {
  std::array<char, 4096> path{};
  if (::readlink("/proc/self/exe", path.data(), path.size() - 1) < 0)
    return {"/proc", Verdict::missing, "/proc/self/exe: " + text_of(errno),
            "workers are started by /proc/self/fd/N: mount proc on /proc"};
  return {"/proc", Verdict::ok, fmt::format("mounted; this program is {}", path.data()), {}};
}

/// Starts this program anew, by a descriptor and without fork's copy of the memory map, as workers are started.
Finding exec() {
  const system::UniqueFd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!program) return {"exec", Verdict::missing, "cannot open this program: " + text_of(errno), "it must be readable"};
  const std::string path = fmt::format("/proc/self/fd/{}", program.get());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  std::string name = "yoke";
  std::string argument = "--version";
  char* arguments[] = {name.data(), argument.data(), nullptr};
  const auto begin = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int error = ::posix_spawn(&child, path.c_str(), &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return {"exec", Verdict::missing, "cannot start this program again: " + text_of(error), "no worker can be started"};
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  if (status != 0)
    return {"exec", Verdict::missing, fmt::format("this program, started again, ended with wait status {}", status),
            "no worker can be started"};
  return {"exec",
          Verdict::ok,
          fmt::format("vfork and exec of this program until it ended took {:.1f} ms", took.count()),
          {}};
}

}  // namespace

void check_kernel(Findings& findings) {
  for (const auto check : {memfd, pidfd, futex_waitv, close_range, proc, exec}) findings.push_back(check());
}

}  // namespace yoke::tools
