// Frames of a call stack, told by one process and described in another that has the same modules loaded. Thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace yoke::system {

struct Frame {
  std::uint64_t offset = 0;  // from the module's base; the address itself if the module is unknown
  std::string module;        // path, "/" for the program; empty if unknown
};

/// Of an address of this process.
Frame frame_of(const void* address);

/// Which of them is the first that is neither in the language's runtime nor in the system's libraries; their number if
/// none is.
std::size_t first_of_program(std::span<const Frame> frames);

/// "function at file:line" for each frame that says something to the user: from the innermost, but for std::terminate's
/// way to the library, down to the task's function. Slow at first: reads debug information.
std::vector<std::string> describe_frames(const std::vector<Frame>& frames, bool innermost_is_a_call);

}  // namespace yoke::system
