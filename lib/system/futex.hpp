// The kernel's futex calls on 32-bit words, in this process or shared between processes.
//
// All functions are thread-safe and async-signal-safe, take no lock and allocate nothing. A wait may return early
// (signal, wake meant for another): callers look at their word again. Deadlines are absolute, CLOCK_MONOTONIC.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "yoke/clock.hpp"

namespace yoke::system {

using Word = std::atomic<std::uint32_t>;
using Deadline = std::optional<std::chrono::steady_clock::time_point>;  // empty: for ever

enum class Sharing { process_private, shared };

/// Sleeps while `word == expected`, at most until `deadline`.
void futex_wait(const Word& word, std::uint32_t expected, Sharing sharing, Deadline deadline = {}) noexcept;

/// Wakes at most `count` threads that sleep on `word`.
void futex_wake(const Word& word, int count, Sharing sharing) noexcept;

/// One word of a wait on several.
struct WaitWord {
  const Word* word;
  std::uint32_t expected;
  Sharing sharing;
};

/// The kernel's limit of words in one wait.
inline constexpr std::size_t max_wait_words = 128;

/// True if the kernel has futex_waitv (Linux 5.16). Asked once.
bool has_futex_waitv() noexcept;

/// Sleeps while every word holds its expected value, at most until `deadline`. At most max_wait_words words.
void futex_wait_any(std::span<const WaitWord> words, Deadline deadline = {}) noexcept;

}  // namespace yoke::system
