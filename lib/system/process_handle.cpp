// The pidfd system calls, for which glibc 2.35 and before has no wrappers.
#include "lib/system/process_handle.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>

#include "lib/system/process_stat.hpp"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace yoke::system {
namespace {

constexpr unsigned to_process_group = 1U << 2;            // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
constexpr auto wait_by_pidfd = static_cast<idtype_t>(3);  // P_PIDFD

// struct pidfd_info of Linux 6.15, up to the exit code.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup;
  std::uint32_t ids[11];
  std::int32_t exit_code;
};
constexpr std::uint64_t pidfd_info_exit = 1U << 3;

int send_signal(int pidfd, int signal, unsigned flags) noexcept {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, flags));
}

// A pidfd is readable when the last thread of the process is dead.
bool is_dead(int pidfd) noexcept {
  pollfd look{pidfd, POLLIN, 0};
  return ::poll(&look, 1, 0) == 1;
}

// Somebody else reaped it. Since 6.15 the kernel keeps the status for those who hold a pidfd.
ExitStatus status_after_reaping(int pidfd) noexcept {
  PidfdInfo info{};
  info.mask = pidfd_info_exit;
  if (::ioctl(pidfd, _IOWR(0xFF, 11, PidfdInfo), &info) != 0 || (info.mask & pidfd_info_exit) == 0) {
    return StatusTaken{};
  }
  return decode_wait_status(info.exit_code);
}

}  // namespace

ExitStatus decode_wait_status(int status) noexcept {
  if (WIFSIGNALED(status)) return Signaled{WTERMSIG(status), static_cast<bool>(WCOREDUMP(status))};
  return Exited{WEXITSTATUS(status)};
}

ProcessHandle::ProcessHandle(pid_t child)
    : pid_(child), pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, child, 0))) {
  if (!pidfd_) throw std::system_error(errno, std::system_category(), "pidfd_open");
}

void ProcessHandle::signal(int signal) const noexcept {
  if (pidfd_) send_signal(pidfd_.get(), signal, 0);
}

void ProcessHandle::signal_group(int signal) const noexcept {
  if (!pidfd_) return;
  if (send_signal(pidfd_.get(), signal, to_process_group) != 0 && errno == EINVAL) {
    // Before 6.9 there is only the number, which is surely its own as long as the process is not reaped.
    if (send_signal(pidfd_.get(), 0, 0) == 0) ::kill(-pid_, signal);
  }
  // It may have left its group, or not have been the group's leader.
  send_signal(pidfd_.get(), signal, 0);
}

bool ProcessHandle::dying_or_dead() const {
  if (!pidfd_ || status_ || is_dead(pidfd_.get())) return true;
  const auto end = look_for_end(pid_);
  // Whether the answer was of this process shows afterwards: before it is reaped, nobody else can have its pid.
  if (send_signal(pidfd_.get(), 0, 0) != 0 && errno == ESRCH) return true;
  return end && end->begun;
}

bool ProcessHandle::stopped() const { return pidfd_ && !status_ && is_stopped(pid_); }

std::optional<ExitStatus> ProcessHandle::early_status() const {
  if (status_) return status_;
  if (!pidfd_) return {};
  const auto end = look_for_end(pid_);
  if (send_signal(pidfd_.get(), 0, 0) != 0 && errno == ESRCH) return {};
  if (!end || !end->wait_status) return {};
  return decode_wait_status(*end->wait_status);
}

std::optional<ExitStatus> ProcessHandle::try_reap() noexcept {
  if (status_) return status_;
  if (!pidfd_ || !is_dead(pidfd_.get())) return {};
  siginfo_t info{};
  int result = 0;
  do {
    result = ::waitid(wait_by_pidfd, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    status_ = status_after_reaping(pidfd_.get());
  } else if (info.si_pid != 0) {
    if (info.si_code == CLD_EXITED) {
      status_ = Exited{info.si_status};
    } else {
      status_ = Signaled{info.si_status, info.si_code == CLD_DUMPED};
    }
  }
  return status_;
}

std::optional<ExitStatus> ProcessHandle::wait_exit(Deadline deadline) {
  using std::chrono::nanoseconds;
  while (pidfd_) {
    if (const auto status = try_reap()) return status;
    timespec left{};
    if (deadline) {
      const auto time = std::chrono::duration_cast<nanoseconds>(*deadline - std::chrono::steady_clock::now()).count();
      if (time <= 0) return {};
      left.tv_sec = time / 1'000'000'000;
      left.tv_nsec = time % 1'000'000'000;
    }
    pollfd look{pidfd_.get(), POLLIN, 0};
    ::ppoll(&look, 1, deadline ? &left : nullptr, nullptr);
  }
  return status_;
}

}  // namespace yoke::system
