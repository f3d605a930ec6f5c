// The pidfd system calls, for which glibc 2.35 and before has no wrappers.
#include "lib/system/process_handle.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <thread>

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

int wait_without_blocking(idtype_t kind, id_t id, siginfo_t& info, int options) noexcept {
  int result = 0;
  do {
    result = ::waitid(kind, id, &info, WEXITED | WNOHANG | options);
  } while (result != 0 && errno == EINTR);
  return result;
}

ExitStatus status_in(const siginfo_t& info) noexcept {
  if (info.si_code == CLD_EXITED) return Exited{info.si_status};
  return Signaled{info.si_status, info.si_code == CLD_DUMPED};
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

ProcessHandle::ProcessHandle(pid_t child, KnownBy known_by) : pid_(child) {
  static std::atomic<bool> has_pidfds = true;  // not asked twice: Valgrind prints a warning each time
  if (known_by == KnownBy::pidfd_if_there && has_pidfds) {
    pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    if (!pidfd_ && errno != ENOSYS && errno != EPERM)
      throw std::system_error(errno, std::system_category(), "pidfd_open");
    has_pidfds = static_cast<bool>(pidfd_);
  }
  start_time_ = start_time_of(child);
  if (!start_time_ && !pidfd_) throw std::system_error(ESRCH, std::system_category(), "/proc/PID/stat of a child");
}

ProcessHandle& ProcessHandle::operator=(ProcessHandle&& other) noexcept {
  pid_ = std::exchange(other.pid_, 0);
  pidfd_ = std::move(other.pidfd_);
  start_time_ = std::exchange(other.start_time_, {});
  status_ = std::exchange(other.status_, {});
  return *this;
}

/// Not where there is none, nor once the program has closed it behind our back: then by the start time.
bool ProcessHandle::by_pidfd() const noexcept { return pidfd_.is_own(); }

// Before a child is reaped, nobody else can have its pid.
bool ProcessHandle::reaped() const noexcept {
  if (!by_pidfd()) return start_time_of(pid_) != start_time_;
  if (send_signal(pidfd_.get(), 0, 0) == 0) return false;
  if (errno == ESRCH) return true;
  siginfo_t info{};  // no right to signal it, or the call itself is forbidden
  return wait_without_blocking(wait_by_pidfd, static_cast<id_t>(pidfd_.get()), info, WNOWAIT) != 0;
}

bool ProcessHandle::can_be_reaped() const noexcept {
  if (by_pidfd()) {
    pollfd look{pidfd_.get(), POLLIN, 0};
    if (const int ready = ::poll(&look, 1, 0); ready >= 0) return ready == 1;
    // RLIMIT_NOFILE is 0: not one descriptor may be looked at so.
    siginfo_t info{};
    return wait_without_blocking(wait_by_pidfd, static_cast<id_t>(pidfd_.get()), info, WNOWAIT) != 0 ||
           info.si_pid != 0;
  }
  siginfo_t info{};
  return wait_without_blocking(P_PID, static_cast<id_t>(pid_), info, WNOWAIT) != 0 || info.si_pid != 0 || reaped();
}

/// The number is surely its own as long as the process is not reaped.
bool ProcessHandle::has_its_number() const noexcept { return pid_ != 0 && !status_ && !reaped(); }

std::error_code ProcessHandle::signal(int signal) const noexcept {
  if (by_pidfd() && (send_signal(pidfd_.get(), signal, 0) == 0 || errno == ESRCH)) return {};
  if (!has_its_number() || ::kill(pid_, signal) == 0 || errno == ESRCH) return {};
  return {errno, std::system_category()};
}

std::error_code ProcessHandle::signal_group(int signal) const noexcept {
  // Before 6.9, and where a filter forbids the call, there is only the number.
  const bool by_number = !by_pidfd() || (send_signal(pidfd_.get(), signal, to_process_group) != 0 && errno != ESRCH);
  if (by_number && has_its_number()) ::kill(-pid_, signal);
  // It may have left its group, or not have been the group's leader.
  return this->signal(signal);
}

bool ProcessHandle::dying_or_dead() const {
  if (pid_ == 0 || status_ || can_be_reaped()) return true;
  const auto end = look_for_end(pid_);
  return reaped() || (end && end->begun);  // whether the answer was of this process shows afterwards
}

bool ProcessHandle::may_write_core() const {
  return pid_ != 0 && !status_ && !can_be_reaped() && system::may_write_core(pid_) && !reaped();
}

bool ProcessHandle::stopped() const { return pid_ != 0 && !status_ && is_stopped(pid_); }

std::optional<ExitStatus> ProcessHandle::early_status() const {
  if (status_) return status_;
  if (pid_ == 0) return {};
  const auto end = look_for_end(pid_);
  if (!reaped() && end && end->wait_status) return decode_wait_status(*end->wait_status);
  // Without /proc, for want of a descriptor perhaps: the process itself tells, once it is quite dead.
  siginfo_t info{};
  const int result = pidfd_     ? wait_without_blocking(wait_by_pidfd, static_cast<id_t>(pidfd_.get()), info, WNOWAIT)
                     : reaped() ? -1
                                : wait_without_blocking(P_PID, static_cast<id_t>(pid_), info, WNOWAIT);
  if (result != 0 || info.si_pid == 0) return {};
  return status_in(info);
}

std::optional<ExitStatus> ProcessHandle::try_reap() noexcept {
  if (status_) return status_;
  if (pid_ == 0 || !can_be_reaped()) return {};
  siginfo_t info{};
  const bool by_descriptor = by_pidfd();
  const int result = by_descriptor ? wait_without_blocking(wait_by_pidfd, static_cast<id_t>(pidfd_.get()), info, 0)
                     : reaped()    ? -1
                                   : wait_without_blocking(P_PID, static_cast<id_t>(pid_), info, 0);
  if (result != 0) {
    status_ = by_descriptor ? status_after_reaping(pidfd_.get()) : StatusTaken{};
  } else if (info.si_pid != 0) {
    status_ = status_in(info);
  }
  return status_;
}

bool ProcessHandle::try_reap_group() const noexcept {
  for (;;) {
    const pid_t member = ::waitpid(-pid_, nullptr, WNOHANG);
    if (member > 0 || (member < 0 && errno == EINTR)) continue;
    if (member == 0) ::kill(-pid_, SIGKILL);
    return member < 0;
  }
}

std::optional<ExitStatus> ProcessHandle::wait_exit(Deadline deadline) {
  using namespace std::chrono;
  while (pid_ != 0) {
    if (const auto status = try_reap()) return status;
    const auto left = deadline ? *deadline - Clock::now() : steady_clock::duration::max();
    if (left <= left.zero()) return {};
    if (by_pidfd()) {
      const auto whole = duration_cast<seconds>(left);
      const timespec time{whole.count(), (left - whole).count()};
      pollfd look{pidfd_.get(), POLLIN, 0};
      ::ppoll(&look, 1, deadline ? &time : nullptr, nullptr);
    } else {
      std::this_thread::sleep_for(std::min<steady_clock::duration>(left, 1ms));
    }
  }
  return status_;
}

std::string describe(const ExitStatus& status) {
  if (const auto* exited = std::get_if<Exited>(&status)) return fmt::format("exit code {}", exited->code);
  if (const auto* signaled = std::get_if<Signaled>(&status)) {
    const char* name = ::sigabbrev_np(signaled->signal);
    return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", signaled->signal);
  }
  return "an exit status that something else took";
}

}  // namespace yoke::system
