// LivenessScan: how often the watchdog looks at every process, which takes system calls, and what it knows from scan to
// scan. The watchdog's alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "yoke/clock.hpp"

namespace yoke::local {

class LivenessScan {
 public:
  static constexpr std::chrono::milliseconds period{100};

  /// True once each period; `submitted`: tasks ever.
  bool begin(Clock::time_point now, std::uint64_t submitted) noexcept {
    if (now < next_) return false;
    next_ = now + period;
    quiet_ = std::exchange(submitted_, submitted) == submitted;
    return true;
  }
  Clock::time_point next() const noexcept { return next_; }
  /// Nothing was submitted between the last two.
  bool quiet() const noexcept { return quiet_; }

 private:
  Clock::time_point next_{};
  std::uint64_t submitted_ = 0;
  bool quiet_ = true;
};

}  // namespace yoke::local
