// Tells a process from its forks: a fork has the memory of a pool, but none of its threads and workers.
#pragma once

namespace yoke::system {

/// Differs between a process and what was forked from it after the first call. No system call.
unsigned fork_generation() noexcept;

}  // namespace yoke::system
