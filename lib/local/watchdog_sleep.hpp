// WatchdogSleep: when the watchdog wakes, and who wakes it. It sleeps on one word of commands, beside the words of
// workers.
//
// Threads: wake and wake_by from any, without a lock; the rest is the watchdog's, under the pool's lock but for
// sleep(). Who wakes changes the word first and looks for a sleeper then; the watchdog reads the word before it looks
// for work.
#pragma once

#include <atomic>
#include <climits>
#include <cstdint>
#include <span>
#include <utility>

#include "lib/system/futex.hpp"
#include "yoke/clock.hpp"

namespace yoke::local {

class WatchdogSleep {
 public:
  using Deadline = system::Deadline;

  void wake() noexcept {
    commands_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeps_.load(std::memory_order_seq_cst))
      system::futex_wake(commands_, INT_MAX, system::Sharing::process_private);
  }
  /// It looks again at that time, or before.
  void wake_by(Clock::time_point time) noexcept {
    if (time.time_since_epoch().count() < wakes_at_.load(std::memory_order_relaxed)) wake();
  }

  /// To be asked before the last look for work.
  system::WaitWord word() const noexcept {
    return {&commands_, commands_.load(std::memory_order_seq_cst), system::Sharing::process_private};
  }
  /// `rests`: no worker has had anything to do for long, so that who gives one something wakes the watchdog.
  void announce(Deadline deadline, bool rests) noexcept {
    wakes_at_.store(deadline ? deadline->time_since_epoch().count() : INT64_MAX, std::memory_order_relaxed);
    rests_ = rests;
    sleeps_.store(true, std::memory_order_seq_cst);
  }
  void sleep(std::span<const system::WaitWord> words, Deadline deadline) noexcept {
    if (!deadline || *deadline > Clock::now()) system::futex_wait_any(words, deadline);
  }
  void over() noexcept {
    sleeps_.store(false, std::memory_order_seq_cst);
    rests_ = false;
    wakes_at_.store(0, std::memory_order_relaxed);
  }
  /// Under the pool's lock: a worker was given something to do.
  void disturb() noexcept {
    if (std::exchange(rests_, false)) wake();
  }

 private:
  system::Word commands_{0};
  std::atomic<bool> sleeps_{false};
  std::atomic<std::int64_t> wakes_at_{0};  // steady clock, ns; while it sleeps
  bool rests_ = false;
};

}  // namespace yoke::local
