// Where the workers of a pool print.
#pragma once

#include <array>
#include <functional>

namespace yoke::pool {

/// Descriptors for a worker of that rank to have as its stdout and stderr; they stay the giver's. Empty: this process's
/// own. Called on the thread that starts workers.
using WorkerOutput = std::function<std::array<int, 2>(int rank)>;

}  // namespace yoke::pool
