// LaunchRetries: when a worker is tried again that could not be started, and when that is given up. One thread at a
// time (the pool's lock); who asks says what time it is.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "yoke/clock.hpp"

namespace yoke::local {

class LaunchRetries {
 public:
  /// `patience`: for what the system may yet have, while no worker serves.
  explicit LaunchRetries(std::chrono::milliseconds patience)
      : patience_(std::min<std::chrono::milliseconds>(patience, longest)) {}

  enum class Verdict {
    try_again,
    fail_waiting,  // what waits fails; the next submit is tried anew
    give_up  // nothing can ever run
  };
  /// `passing`: the trouble may pass; `served`: there are other workers, which is a reason to go on trying.
  Verdict failed(Clock::time_point now, bool passing, bool served);
  void succeeded() noexcept {
    tries_ = 0;
    failing_since_.reset();
    next_.reset();
  }

  int tries() const noexcept { return tries_; }
  /// Nothing is started until the pause after the last try is over.
  bool pauses() const noexcept { return next_.has_value(); }
  std::optional<Clock::time_point> next_try() const noexcept { return next_; }
  void end_pause(Clock::time_point now) noexcept {
    if (next_ && now >= *next_) next_.reset();
  }

 private:
  static constexpr std::chrono::milliseconds first_delay{10};  // doubles
  static constexpr int most_tries = 8;  // for what never will be had
  static constexpr std::chrono::seconds longest{20};

  const std::chrono::milliseconds patience_;
  int tries_ = 0;
  std::optional<Clock::time_point> failing_since_;
  std::optional<Clock::time_point> next_;
};

}  // namespace yoke::local
