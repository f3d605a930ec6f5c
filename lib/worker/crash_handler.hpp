// The crash handler: what a dying worker leaves in its black box for the death report.
//
// Handles SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS and SIGTRAP on a stack of its own, rings the parent, and
// then lets the signal take its former course: the user's handler if there was one, else the default, so that exit
// status and core file stay true. Absent under sanitizers, which report by themselves. std::terminate leaves its reason
// too.
#pragma once

#include <string_view>

#include "lib/channel/worker_channel.hpp"

namespace yoke::worker {

/// For the calling thread's stack overflows too. Throws std::bad_alloc, std::system_error.
void install_crash_handler(channel::WorkerChannel& channel);

/// Leaves a text for the death report. Async-signal-safe.
void record_reason(channel::BlackBox& box, std::string_view reason) noexcept;

}  // namespace yoke::worker
