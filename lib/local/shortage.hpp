// Shortage: something that a task needs to be handed over is not to be had now, descriptors say. It is tried again, for
// some time. One thread at a time (the pool's lock); who asks says what time it is.
#pragma once

#include <chrono>
#include <optional>

#include "yoke/clock.hpp"

namespace yoke::local {

class Shortage {
 public:
  /// It was met once more. True if the task is to be tried again, at again_at(); false if it has had its time.
  bool met(Clock::time_point now) noexcept {
    if (!since_) since_ = now;
    if (now - *since_ >= patience) return false;
    again_at_ = now + pause;
    return true;
  }
  /// What was lacking was there.
  void over() noexcept { since_.reset(); }
  void begin_try() noexcept { again_at_.reset(); }
  const std::optional<Clock::time_point>& again_at() const noexcept { return again_at_; }

 private:
  static constexpr std::chrono::milliseconds pause{10};
  static constexpr std::chrono::seconds patience{20};

  std::optional<Clock::time_point> since_;
  std::optional<Clock::time_point> again_at_;
};

}  // namespace yoke::local
