// The clock of deadlines and time limits.
#pragma once

#include <chrono>

#include "yoke/export.hpp"

namespace yoke {

/// std::chrono::steady_clock, asked of the kernel past whatever lies before libc: the kernel ends our sleeps by its own
/// time, and under a library that fakes time (libfaketime) no time limit would ever come.
struct YOKE_API Clock {
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr bool is_steady = true;
  static time_point now() noexcept;
};

}  // namespace yoke
