// What waits is what is left of what was submitted: counted so, the numbers of a pool add up at every moment.
#pragma once

#include <algorithm>

#include "yoke/stats.hpp"

namespace yoke::pool {

inline void count_waiting(Stats& stats) {
  const std::uint64_t others = stats.running + stats.done + stats.failed + stats.cancelled;
  stats.waiting = stats.submitted - std::min(stats.submitted, others);
}

}  // namespace yoke::pool
