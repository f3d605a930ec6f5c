// The futex system calls; glibc has no wrapper for them.
#include "lib/system/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <climits>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449  // the same number on every architecture
#endif

namespace yoke::system {
namespace {

static_assert(sizeof(Word) == 4 && Word::is_always_lock_free);

// struct futex_waitv, which kernel headers before 5.16 do not have.
struct KernelWait {
  std::uint64_t value;
  std::uint64_t address;
  std::uint32_t flags;
  std::uint32_t reserved;
};
constexpr std::uint32_t size_u32 = 2;

timespec to_timespec(std::chrono::steady_clock::time_point deadline) noexcept {
  // The kernel refuses a negative time, and the caller would then spin instead of seeing its deadline pass.
  const auto since = std::max(deadline.time_since_epoch(), std::chrono::steady_clock::duration::zero());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  timespec result{};
  result.tv_sec = seconds.count();
  result.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count();
  return result;
}

int private_flag(Sharing sharing) noexcept { return sharing == Sharing::process_private ? FUTEX_PRIVATE_FLAG : 0; }

}  // namespace

void futex_wait(const Word& word, std::uint32_t expected, Sharing sharing, Deadline deadline) noexcept {
  timespec until{};
  if (deadline) until = to_timespec(*deadline);
  // WAIT_BITSET and not WAIT: its timeout is absolute, so an interrupted wait does not start again from the full time.
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | private_flag(sharing), expected, deadline ? &until : nullptr, nullptr,
            FUTEX_BITSET_MATCH_ANY);
}

void futex_wake(const Word& word, int count, Sharing sharing) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE | private_flag(sharing), count, nullptr, nullptr, 0);
}

bool has_futex_waitv() noexcept {
  enum class Known : int { not_yet, there, missing };
  static std::atomic<Known> known{
      Known::not_yet};  // no guarded constant: one that a fork finds half made is never made
  if (known.load(std::memory_order_relaxed) == Known::not_yet) {
    // No words is EINVAL where the call exists; ENOSYS, or EPERM from a seccomp filter, where it does not.
    const bool has = ::syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, CLOCK_MONOTONIC) == -1 && errno == EINVAL;
    known.store(has ? Known::there : Known::missing, std::memory_order_relaxed);
  }
  return known.load(std::memory_order_relaxed) == Known::there;
}

void futex_wait_any(std::span<const WaitWord> words, Deadline deadline) noexcept {
  assert(!words.empty() && words.size() <= max_wait_words);
  if (words.size() == 1) return futex_wait(*words[0].word, words[0].expected, words[0].sharing, deadline);
  if (!has_futex_waitv()) {
    // Sleep on the first and look at the others each millisecond: correct, and not meant to be fast.
    for (const WaitWord& wait : words) {
      if (wait.word->load() != wait.expected) return;
    }
    const auto tick = Clock::now() + std::chrono::milliseconds(1);
    return futex_wait(*words[0].word, words[0].expected, words[0].sharing, deadline ? std::min(*deadline, tick) : tick);
  }
  std::array<KernelWait, max_wait_words> waits;
  const std::size_t count = std::min(words.size(), max_wait_words);
  for (std::size_t i = 0; i < count; ++i) {
    const auto flags = size_u32 | static_cast<std::uint32_t>(private_flag(words[i].sharing));
    waits[i] = {words[i].expected, reinterpret_cast<std::uintptr_t>(words[i].word), flags, 0};
  }
  timespec until{};
  if (deadline) until = to_timespec(*deadline);
  ::syscall(SYS_futex_waitv, waits.data(), count, 0, deadline ? &until : nullptr, CLOCK_MONOTONIC);
}

}  // namespace yoke::system
