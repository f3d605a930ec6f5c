#include "lib/system/main_thread_state.hpp"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <string_view>

#include "lib/system/fork_guard.hpp"
#include "lib/system/read_text.hpp"

namespace yoke::system {
namespace {

constexpr int io_priority_of_thread = 1;             // IOPRIO_WHO_PROCESS
constexpr std::uint64_t reset_on_fork = 1;           // SCHED_FLAG_RESET_ON_FORK
constexpr int last_capability = 63;

/// What stands behind a name in /proc/…/status, as a number.
std::optional<std::uint64_t> field(std::string_view status, std::string_view name, int base) {
  const auto at = status.find(name);
  if (at == std::string_view::npos) return {};
  const char* const begin = status.data() + at + name.size();
  std::uint64_t value = 0;
  const auto end = std::from_chars(begin, status.data() + status.size(), value, base);
  if (end.ec != std::errc()) return {};
  return value;
}

}  // namespace

std::optional<MainThreadState::Scheduling> MainThreadState::scheduling_of(pid_t thread) noexcept {
  Scheduling found;
  if (::syscall(SYS_sched_getattr, thread, &found, sizeof found, 0) != 0) return {};
  return found;
}

std::optional<MainThreadState::Rights> MainThreadState::rights_in(const char* status_file) {
  const std::string status = read_text(status_file);
  Rights found;
  const auto take = [&](const char* name, int base, auto& to) {
    const auto value = field(status, name, base);
    if (value) to = static_cast<std::remove_reference_t<decltype(to)>>(*value);
    return value.has_value();
  };
  if (take("\nCapInh:\t", 16, found.inheritable) && take("\nCapPrm:\t", 16, found.permitted) &&
      take("\nCapEff:\t", 16, found.effective) && take("\nCapBnd:\t", 16, found.bounding) &&
      take("\nCapAmb:\t", 16, found.ambient) && take("\nNoNewPrivs:\t", 10, found.no_new_privileges))
    return found;
  return {};
}

MainThreadState::MainThreadState() {
  const pid_t main = own_pid();
  scheduling_ = scheduling_of(main);
  // A child of a thread that asks for it begins as an ordinary one; the kernel does that for the launching thread's.
  if (scheduling_ && ((scheduling_->flags & reset_on_fork) != 0 || scheduling_ == scheduling_of(0)))
    scheduling_.reset();
  const long io_priority = ::syscall(SYS_ioprio_get, io_priority_of_thread, main);
  if (io_priority >= 0 && io_priority != ::syscall(SYS_ioprio_get, io_priority_of_thread, 0))
    io_priority_ = static_cast<int>(io_priority);
  processor_bytes_ = ::syscall(SYS_sched_getaffinity, main, sizeof processors_, processors_.data());
  rights_ = rights_in(("/proc/self/task/" + std::to_string(main) + "/status").c_str());
  if (rights_ == rights_in("/proc/thread-self/status")) rights_.reset();
}

bool MainThreadState::apply() const noexcept {
  if (processor_bytes_ > 0) ::syscall(SYS_sched_setaffinity, 0, processor_bytes_, processors_.data());
  // What the process may not have (a higher priority without CAP_SYS_NICE) it does without.
  if (scheduling_) ::syscall(SYS_sched_setattr, 0, &*scheduling_, 0);
  if (io_priority_) ::syscall(SYS_ioprio_set, io_priority_of_thread, 0, *io_priority_);
  return !rights_ || give_up_rights();
}

bool MainThreadState::give_up_rights() const noexcept {
  const Rights& wanted = *rights_;
  if (wanted.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  for (int capability = 0; capability <= last_capability; ++capability) {
    const bool kept = (wanted.bounding >> capability & 1) != 0;
    if (!kept && ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 &&
        ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return false;
    if ((wanted.ambient >> capability & 1) == 0) ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, capability, 0, 0);
  }
  // Never more than the launching thread has: what the main thread has won since is not given on.
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct now[2]{};
  if (::syscall(SYS_capget, &head, now) != 0) return false;
  for (int word = 0; word < 2; ++word) {
    const auto of = [&](std::uint64_t all) { return static_cast<std::uint32_t>(all >> (32 * word)); };
    now[word].permitted &= of(wanted.permitted);
    now[word].effective &= of(wanted.effective);
    now[word].effective &= now[word].permitted;
    now[word].inheritable &= of(wanted.inheritable);
  }
  return ::syscall(SYS_capset, &head, now) == 0;
}

}  // namespace yoke::system
