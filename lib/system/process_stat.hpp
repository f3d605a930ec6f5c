// What /proc/PID/stat says of a process that is ending, before it can be reaped. Used by ProcessHandle alone.
//
// Thread-safe; nothing is cached. The pid must be known to be a child of the caller, not yet reaped: a pid alone
// says nothing, it may have been recycled.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace yoke::system {

struct ProcessEnd {
  bool begun = false;              // no thread of it will run its own code again
  std::optional<int> wait_status;  // as of wait(2), without the core flag while the core is still being written
};

/// Empty if /proc does not show this child (already reaped, no /proc, or the /proc of another pid namespace).
std::optional<ProcessEnd> look_for_end(pid_t child);

/// When it started, in clock ticks since the machine did: with the pid, its identity. Empty if it is no child of the
/// caller.
std::optional<std::uint64_t> start_time_of(pid_t child) noexcept;

/// True from a signal that ends it, with a core file if the kernel writes one for that signal, until that is written.
bool may_write_core(pid_t child);

/// True while a stop signal holds it; a debugger does not count.
bool is_stopped(pid_t child);

}  // namespace yoke::system
