// ProcessHandle: one child process, known by pidfd, so that a recycled pid is never signalled. Where the kernel has no
// pidfds (before 5.3, or under a seccomp filter; Valgrind) it is known by its pid and the time of its start.
//
// Move-only; destroying it neither kills nor waits. Calls are safe from any thread as long as one object is not moved
// meanwhile. Nothing here blocks except wait_exit with a deadline.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "lib/system/futex.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::system {

struct Exited {
  int code;
};
struct Signaled {
  int signal;
  bool core_dumped;
};
struct StatusTaken {};  // dead, but someone else reaped it (the host ignores SIGCHLD, or waits for every child)
using ExitStatus = std::variant<Exited, Signaled, StatusTaken>;

/// From the status word of wait(2) and of the last field of /proc/PID/stat.
ExitStatus decode_wait_status(int status) noexcept;
/// "exit code 255", "SIGKILL".
std::string describe(const ExitStatus& status);

class ProcessHandle {
 public:
  enum class KnownBy { pidfd_if_there, start_time };

  ProcessHandle() = default;
  /// Of a child of the caller that was not reaped; throws std::system_error.
  explicit ProcessHandle(pid_t child, KnownBy known_by = KnownBy::pidfd_if_there);
  ProcessHandle(ProcessHandle&& other) noexcept { *this = std::move(other); }
  ProcessHandle& operator=(ProcessHandle&& other) noexcept;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  explicit operator bool() const noexcept { return pid_ != 0; }

  /// To the process alone. A dead process is no error; what is: it may not be signalled, having rights that this
  /// process has not, or a filter forbids it.
  std::error_code signal(int signal) const noexcept;
  /// To the process group that the process leads, and to the process. The error is that of the process itself.
  std::error_code signal_group(int signal) const noexcept;

  /// True once the kernel has begun to end it: the process is a zombie, dead, or gone (reads /proc; no waiting). False
  /// if only its main thread ended, and while it is stopped or replaces its program (exec).
  [[nodiscard]] bool dying_or_dead() const;

  /// True while a stop signal holds it, not a debugger (reads /proc; no waiting).
  [[nodiscard]] bool stopped() const;

  /// True while the kernel may be writing a core file of it, which SIGKILL would cut (reads /proc; no waiting).
  [[nodiscard]] bool may_write_core() const;

  /// True when its last thread is dead, whoever reaps it (no waiting).
  [[nodiscard]] bool can_be_reaped() const noexcept;

  /// True once nobody can be told how it ended: it is gone, by this object's try_reap() or by another wait of the
  /// program.
  [[nodiscard]] bool reaped() const noexcept;

  /// The exit status from /proc/PID/stat as soon as the process is ending, before it can be reaped; empty while it
  /// lives or where /proc does not tell. core_dumped may be false still when in the end it is true.
  [[nodiscard]] std::optional<ExitStatus> early_status() const;

  /// Reaps without waiting: empty while it lives or is still being torn down; afterwards the same status at each call.
  std::optional<ExitStatus> try_reap() noexcept;

  /// Once it is reaped: kills, and reaps without waiting, what is left of the group that it led and was handed to this
  /// process, as it is to the first process of a container. True when nothing is.
  bool try_reap_group() const noexcept;

  /// Waits for the end and reaps. Empty if the deadline came first.
  std::optional<ExitStatus> wait_exit(Deadline deadline);

 private:
  [[nodiscard]] bool by_pidfd() const noexcept;
  [[nodiscard]] bool has_its_number() const noexcept;

  pid_t pid_ = 0;
  UniqueFd pidfd_;
  std::optional<std::uint64_t> start_time_;  // for when there is no pidfd
  std::optional<ExitStatus> status_;
};

}  // namespace yoke::system
