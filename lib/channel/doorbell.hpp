// A doorbell: one side sleeps, the other wakes it, with a system call only if it really sleeps.
//
// `armed` is written by the sleeper, `rung` by the ringer. The sleeper arms, looks once more for work, then sleeps
// until `rung` shows its number. The ringer publishes its work, then looks whether the bell is armed with a number that
// it has not rung. The full fences on both sides make sure that one of them sees the other.
#pragma once

#include <climits>

#include "lib/system/futex.hpp"

namespace yoke::channel {

class Sleeper {
 public:
  Sleeper(system::Word& armed, const system::Word& rung) : armed_(&armed), rung_(&rung) {}

  void arm() noexcept {
    if (++number_ == 0) number_ = 1;
    armed_->store(number_, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  /// After this, work that was not announced by a ring is seen by looking for it.
  void disarm() noexcept {
    armed_->store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  bool rung() const noexcept { return rung_->load(std::memory_order_acquire) == number_; }
  /// To sleep on, while !rung().
  system::WaitWord wait_word() const noexcept {
    const std::uint32_t seen = rung_->load(std::memory_order_acquire);
    return {rung_, seen == number_ ? seen - 1 : seen, system::Sharing::shared};
  }
  void sleep(system::Deadline deadline) const noexcept {
    const std::uint32_t seen = rung_->load(std::memory_order_acquire);
    if (seen != number_) system::futex_wait(*rung_, seen, system::Sharing::shared, deadline);
  }

 private:
  system::Word* armed_;
  const system::Word* rung_;
  std::uint32_t number_ = 0;
};

/// Ringer: whether `armed`, as it is seen, is of a sleeper that has not been rung since.
constexpr bool waits_for_ring(std::uint32_t armed, std::uint32_t last_rung) { return armed != 0 && armed != last_rung; }

class Ringer {
 public:
  Ringer(const system::Word& armed, system::Word& rung) : armed_(&armed), rung_(&rung) {}

  /// Someone sleeps, or is about to, and was not rung.
  bool someone_sleeps() const noexcept { return waits_for_ring(armed_->load(std::memory_order_acquire), last_); }
  /// Call after a full fence that follows the publication of the work. True if someone was woken.
  bool ring_if_armed() noexcept {
    const std::uint32_t number = armed_->load(std::memory_order_relaxed);
    if (!waits_for_ring(number, last_)) return false;
    last_ = number;
    rung_->store(number, std::memory_order_release);
    system::futex_wake(*rung_, INT_MAX, system::Sharing::shared);
    return true;
  }

 private:
  const system::Word* armed_;
  system::Word* rung_;
  std::uint32_t last_ = 0;
};

}  // namespace yoke::channel
