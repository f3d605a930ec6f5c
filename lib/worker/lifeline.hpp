// The lifeline: a thread of the worker that waits for the parent's death and then ends the worker, at once and in the
// middle of a task, with everything in its process group.
#pragma once

#include "lib/system/unique_fd.hpp"

namespace yoke::worker {

/// `parent_life`: a page with the life notice of the parent's watchdog thread. Throws std::system_error.
void start_lifeline(system::UniqueFd parent_life);

}  // namespace yoke::worker
