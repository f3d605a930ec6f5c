// A pipe between two processes.
#pragma once

#include "lib/system/unique_fd.hpp"

namespace yoke::system {

struct Pipe {
  UniqueFd read_end, write_end;
};

/// Both ends block, are closed on exec and lie above stderr (above_stdio). Throws std::system_error.
Pipe make_pipe();
/// Reading, or writing, does not wait any more.
void set_nonblocking(const UniqueFd& fd) noexcept;

}  // namespace yoke::system
