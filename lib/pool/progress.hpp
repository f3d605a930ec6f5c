// Progress: what the pool itself has seen of the first task that a worker was given and has not brought back, the only
// one that can be running. What the worker says can make a task's start earlier, never later or undone. No lock, no
// clock of its own: the pool's lock guards it, and who looks says when.
#pragma once

#include <cstdint>
#include <optional>

#include "yoke/pool.hpp"

namespace yoke::pool {

class Progress {
 public:
  Progress() = default;

  /// `first`: position of that task, empty if there is none; `says_begun`: what its slot says.
  void look(std::optional<std::uint64_t> first, bool says_begun, Clock::time_point now) {
    const std::uint64_t number = first ? *first + 1 : 0;
    if (number != number_) *this = Progress(number, now);
    if (number != 0 && says_begun && !begun_) begun_ = now;
  }
  /// The same, at a roll call.
  void look_at_roll_call(std::optional<std::uint64_t> first, bool says_begun, Clock::time_point now) {
    look(first, says_begun, now);
    if (unbegun()) ++roll_calls_;
  }

  bool any() const { return number_ != 0; }
  bool of(std::uint64_t position) const { return number_ == position + 1; }
  bool unbegun() const { return any() && !begun_; }
  /// At two roll calls in a row. Whoever was not running itself meanwhile, with all its workers perhaps, has seen it
  /// once.
  bool unbegun_for_long() const { return unbegun() && roll_calls_ >= 2; }
  Clock::time_point first_since() const { return since_; }  // at the latest
  std::optional<Clock::time_point> begun_since() const { return begun_; }  // at the latest; empty: unbegun

 private:
  Progress(std::uint64_t number, Clock::time_point now) : number_(number), since_(now) {}

  std::uint64_t number_ = 0;  // position + 1
  Clock::time_point since_{};
  std::optional<Clock::time_point> begun_{};
  std::uint32_t roll_calls_ = 0;
};

}  // namespace yoke::pool
