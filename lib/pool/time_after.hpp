// When a wait that somebody asked for is over.
#pragma once

#include <algorithm>
#include <chrono>

#include "yoke/clock.hpp"

namespace yoke::pool {

/// `time + wait`, or never (time_point::max()) where that is beyond what the clock can say: programs write
/// milliseconds::max() for no limit.
constexpr Clock::time_point time_after(Clock::time_point time, std::chrono::milliseconds wait) {
  constexpr auto never = Clock::time_point::max();
  if (wait >= std::chrono::floor<std::chrono::milliseconds>(never - std::max(time, Clock::time_point()))) return never;
  return time + std::max(wait, std::chrono::milliseconds(-86'400'000));
}

/// `wait`, or one that is as good and can be added to others and to any time.
template <class Duration>
constexpr Duration bounded(Duration wait) {
  constexpr Duration longest = std::chrono::hours(24 * 365 * 10);
  return std::clamp(wait, -longest, longest);
}

}  // namespace yoke::pool
