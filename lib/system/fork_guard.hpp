// Tells a process from its forks: a fork has the memory of a pool, but none of its threads and workers.
#pragma once

#include <sys/types.h>

namespace yoke::system {

/// Differs between a process and what was forked from it after the first call. No system call.
unsigned fork_generation() noexcept;
/// getpid() without a system call.
pid_t own_pid() noexcept;

}  // namespace yoke::system
