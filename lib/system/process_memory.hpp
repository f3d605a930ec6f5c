// How much memory a process uses of its own, with what it has started and what it holds in the kernel: as /proc shows
// it.
//
// Thread-safe; nothing is cached. What cannot be seen (no right to look, or the process ends meanwhile) counts as
// nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace yoke::system {

/// Bytes: resident memory that is neither shared with others nor of files, of the process and of its descendants;
/// memory files (memfds) that are open in them but for the library's own, and what lies in their pipes. Each once.
std::uint64_t memory_with_descendants(pid_t pid);

}  // namespace yoke::system
