// Where exceptions were thrown. In a worker, the place of each throw is kept until the thread's next few.
//
// Throwing goes through __cxa_throw, which this library defines as well as the C++ runtime: its own notes the caller's
// frames and passes on. The definition is weak: in programs with a static C++ runtime, the runtime's takes its place,
// and no places are known. Nor are they under a sanitizer, which has a definition of its own. A throw in a worker takes
// some three microseconds longer for it, twice as long as without.
#pragma once

#include <exception>
#include <vector>

#include "lib/system/frames.hpp"

namespace yoke::wire {

/// From now on, on every thread of this process.
void note_throws() noexcept;

/// When a task begins: what this thread threw before is of no interest.
void forget_throws() noexcept;

/// In a catch block, or in the terminate handler: calls `end`, which does not return, if what was caught is
/// pthread_exit unwinding the stack. Nothing may stop that.
void end_if_thread_exits(void (*end)());

inline constexpr std::size_t most_frames_of_a_throw = 24;

/// Where this thread threw it; empty if that is not known.
std::vector<system::Frame> throw_place(const std::exception_ptr& error);

}  // namespace yoke::wire
