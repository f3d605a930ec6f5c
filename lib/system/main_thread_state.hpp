// What Linux keeps for each thread and a program means for all of it: priority, scheduling policy, input/output
// priority, processors, no_new_privs and capabilities. A worker is to have what the program's main thread has at its
// start, and not what the thread that launches it has, which may be older.
//
// Not taken over: what one thread cannot read of another, or may not give itself (seccomp filters, namespaces, user ids
// set by the bare system call, timer slack).
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

namespace yoke::system {

class MainThreadState {
 public:
  /// Of now. Where the main thread has ended, or /proc does not tell, nothing differs.
  MainThreadState();

  /// In a child between vfork and exec: bare system calls alone. False, with errno, if a right could not be given up.
  [[nodiscard]] bool apply() const noexcept;

 private:
  struct Scheduling {  // sched_attr of Linux 3.14
    std::uint32_t size = sizeof(Scheduling);
    std::uint32_t policy = 0;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 0;
    std::uint64_t deadline = 0;
    std::uint64_t period = 0;
    bool operator==(const Scheduling&) const = default;
  };
  struct Rights {
    std::uint64_t inheritable = 0, permitted = 0, effective = 0, bounding = 0, ambient = 0;
    bool no_new_privileges = false;
    bool operator==(const Rights&) const = default;
  };
  static std::optional<Scheduling> scheduling_of(pid_t thread) noexcept;
  static std::optional<Rights> rights_in(const char* status_file);
  bool give_up_rights() const noexcept;

  std::optional<Scheduling> scheduling_;  // each is empty if the launching thread has the same
  std::optional<int> io_priority_;
  std::array<unsigned long, 128> processors_{};  // as many as Linux can be built for
  long processor_bytes_ = 0;
  std::optional<Rights> rights_;
};

}  // namespace yoke::system
