// Progress: what the pool itself has seen of the first task that a worker was given and has not brought back, the only
// one that can be running; and by it, whether the worker hangs. What the worker says can make a task's start earlier,
// never later or undone. No clock of its own: who looks says when. One thread at a time (the pool's lock).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "yoke/clock.hpp"

namespace yoke::local {

class Progress {
 public:
  /// `first`: position of that task, empty if there is none; `says_begun`: what its slot says.
  void look(std::optional<std::uint64_t> first, bool says_begun, Clock::time_point now) noexcept {
    const std::uint64_t number = first ? *first + 1 : 0;
    if (number != number_) {
      number_ = number;
      since_ = now;
      begun_.reset();
      scans_ = 0;
    }
    if (number != 0 && says_begun && !begun_) begun_ = now;
  }
  /// The same, at a liveness scan. `free`: it is ready and has ended what it had, destructors too.
  void scan(std::optional<std::uint64_t> first, bool says_begun, bool free, Clock::time_point now) noexcept {
    look(first, says_begun, now);
    if (unbegun()) ++scans_;
    if (unbegun_for_long())
      hangs_ = true;
    else if (!unbegun() && (any() || free))
      hangs_ = false;
  }

  bool any() const noexcept { return number_ != 0; }
  bool of(std::uint64_t position) const noexcept { return number_ == position + 1; }
  bool unbegun() const noexcept { return any() && !begun_; }
  /// At two scans in a row. Whoever was not running itself meanwhile, with all its workers perhaps, has seen it once.
  bool unbegun_for_long() const noexcept { return unbegun() && scans_ >= 2; }
  /// It does not begin what it has: its start, or a destructor, takes long.
  bool hangs() const noexcept { return hangs_; }
  Clock::time_point first_since() const noexcept { return since_; }  // at the latest
  std::optional<Clock::time_point> begun_since() const noexcept { return begun_; }  // at the latest; empty: unbegun
  /// When the first task, seen begun, did begin: the worker tells, but cannot make it later than that was seen.
  Clock::time_point start(std::optional<Clock::time_point> told) const {
    return told ? std::min(*told, begun_.value()) : begun_.value();
  }

  /// The first task, seen begun, is a chunk that began at `start`, of which so many items are done, as the worker
  /// tells: an item begins where the one before is seen to end.
  void look_at_items(std::uint64_t done, std::uint64_t count, Clock::time_point start, Clock::time_point now) noexcept {
    if (item_.number != number_) item_ = {number_, 0, start};
    if (done > item_.done && done < count) {
      item_.done = done;
      item_.since = now;
    }
  }
  /// When the item began that runs; empty if the first task's items were not looked at.
  std::optional<Clock::time_point> item_since() const noexcept {
    return any() && item_.number == number_ ? std::optional(item_.since) : std::nullopt;
  }

 private:
  std::uint64_t number_ = 0;  // position + 1
  Clock::time_point since_{};
  std::optional<Clock::time_point> begun_{};
  std::uint32_t scans_ = 0;
  bool hangs_ = false;
  struct {
    std::uint64_t number = 0;
    std::uint64_t done = 0;
    Clock::time_point since{};
  } item_;  // of the chunk that was looked at last
};

}  // namespace yoke::local
