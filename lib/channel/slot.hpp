// The slot protocol: the only changes that a task slot's state can make.
//
//   empty    nothing to do; the parent may fill it
//   ready    filled by the parent, not started
//   running  started by the worker (compare-and-swap from ready)
//   revoked  taken back by the parent (compare-and-swap from ready); the worker passes over it
//
// The state word also holds the position in the endless sequence of tasks, so that a slot's next lap cannot be taken
// for this one. Positions are used in order: the worker runs them in order, and its result for position p goes to
// result slot p. So at most one task of a worker is running, and after its results have been drained it is the first
// one left. The rules are functions of words alone; tests/support/slot_model.hpp runs them through every interleaving.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "lib/channel/layout.hpp"

namespace yoke::channel {

enum class SlotState : std::uint64_t { empty = 0, ready = 1, running = 2, revoked = 3 };

constexpr std::uint64_t slot_word(std::uint64_t position, SlotState state) {
  return position << 2 | static_cast<std::uint64_t>(state);
}
constexpr SlotState state_of(std::uint64_t word) { return static_cast<SlotState>(word & 3); }
constexpr std::uint64_t position_of(std::uint64_t word) { return word >> 2; }

// The rules.

/// A change of a state word, made only if `from` is there.
struct SlotChange {
  std::uint64_t from;
  std::uint64_t to;
};
/// Worker: the task is started.
constexpr SlotChange start_of(std::uint64_t position) {
  return {slot_word(position, SlotState::ready), slot_word(position, SlotState::running)};
}
/// Parent: the task is taken back.
constexpr SlotChange revocation_of(std::uint64_t position) {
  return {slot_word(position, SlotState::ready), slot_word(position, SlotState::revoked)};
}

/// What says where a result lies and what it is, in one word, with the bytes themselves where they lie in the slot
/// (`content`; else empty): a stray write of the task, or of a process that it left, over one of them shows. A length
/// or place that is off by a little would find the bytes of another result, which may well unpack.
inline std::uint32_t result_seal(std::uint64_t position, std::uint64_t length, std::uint64_t where, Place place,
                                 ResultKind kind, std::uint32_t shared, std::span<const std::byte> content) {
  std::uint64_t mixed = position;
  const auto mix = [&mixed](std::uint64_t word) {
    mixed = (mixed ^ word) * 0x9e3779b97f4a7c15;
    mixed ^= mixed >> 32;
  };
  mix(length);
  mix(where);
  mix(std::uint64_t{static_cast<std::uint32_t>(place)} << 40 ^ std::uint64_t{shared} << 20 ^
      static_cast<std::uint32_t>(kind));
  for (std::uint64_t word = 0; !content.empty(); word = 0) {
    const std::size_t size = std::min(content.size(), sizeof word);
    std::memcpy(&word, content.data(), size);
    mix(word);
    content = content.subspan(size);
  }
  return static_cast<std::uint32_t>(mixed);
}

enum class NextStep { wait, start, pass };
/// Worker: what to do at its position, given the state word that it sees there. A later position in the word means that
/// this one was taken back and its slot used again.
constexpr NextStep next_step(std::uint64_t word, std::uint64_t position) {
  if (word == slot_word(position, SlotState::ready)) return NextStep::start;
  if (word == slot_word(position, SlotState::revoked) || position_of(word) > position) return NextStep::pass;
  return NextStep::wait;
}

/// Parent: whether the worker has started the task, which was given and neither collected nor taken back.
constexpr bool has_started(std::uint64_t word, std::uint64_t position) {
  return word != slot_word(position, SlotState::ready);
}
/// Parent: whether the task is lost with its worker, which is dead and whose results have been collected. Tasks run in
/// order, so it can only be the first that is left; the others have not been started.
constexpr bool lost_with_worker(std::uint64_t word, std::uint64_t position, std::uint64_t first_uncollected) {
  return position == first_uncollected && has_started(word, position);
}

/// Parent: whether the word is none that either side writes while the worker has the task.
constexpr bool is_damaged(std::uint64_t word, std::uint64_t position) {
  return word != slot_word(position, SlotState::ready) && word != slot_word(position, SlotState::running);
}

/// ResultSlot::sequence once the result for `position` is there.
constexpr std::uint64_t published(std::uint64_t position) { return position + 1; }

// The same on words that both sides see.

/// Parent: the slot is filled; the worker may start it from now on.
inline void make_ready(std::atomic<std::uint64_t>& state, std::uint64_t position) {
  state.store(slot_word(position, SlotState::ready), std::memory_order_release);
}
/// Worker: starts the task, unless the parent has taken it back.
inline bool try_start(std::atomic<std::uint64_t>& state, std::uint64_t position) {
  auto [expected, desired] = start_of(position);
  return state.compare_exchange_strong(expected, desired, std::memory_order_acquire, std::memory_order_relaxed);
}
/// Parent: takes the task back, unless the worker has started it.
inline bool try_revoke(std::atomic<std::uint64_t>& state, std::uint64_t position) {
  auto [expected, desired] = revocation_of(position);
  return state.compare_exchange_strong(expected, desired, std::memory_order_acq_rel, std::memory_order_relaxed);
}

}  // namespace yoke::channel
