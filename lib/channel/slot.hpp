// The slot protocol: the only changes that a task slot's state can make.
//
//   empty    nothing to do; the parent may fill it
//   ready    filled by the parent, not started
//   running  started by the worker (compare-and-swap from ready)
//   revoked  taken back by the parent (compare-and-swap from ready); the worker passes over it
//
// The state word also holds the position in the endless sequence of tasks, so that a slot's next lap cannot be taken for
// this one. Positions are used in order: the worker runs them in order, and its result for position p goes to result
// slot p. So at most one task of a worker is running, and after its results have been drained it is the first one left.
#pragma once

#include <atomic>
#include <cstdint>

namespace yoke::channel {

enum class SlotState : std::uint64_t { empty = 0, ready = 1, running = 2, revoked = 3 };

constexpr std::uint64_t slot_word(std::uint64_t position, SlotState state) {
  return position << 2 | static_cast<std::uint64_t>(state);
}
constexpr SlotState state_of(std::uint64_t word) { return static_cast<SlotState>(word & 3); }
constexpr std::uint64_t position_of(std::uint64_t word) { return word >> 2; }

/// Parent: the slot is filled; the worker may start it from now on.
inline void make_ready(std::atomic<std::uint64_t>& state, std::uint64_t position) {
  state.store(slot_word(position, SlotState::ready), std::memory_order_release);
}
/// Worker: starts the task, unless the parent has taken it back.
inline bool try_start(std::atomic<std::uint64_t>& state, std::uint64_t position) {
  std::uint64_t expected = slot_word(position, SlotState::ready);
  return state.compare_exchange_strong(expected, slot_word(position, SlotState::running), std::memory_order_acquire,
                                       std::memory_order_relaxed);
}
/// Parent: takes the task back, unless the worker has started it.
inline bool try_revoke(std::atomic<std::uint64_t>& state, std::uint64_t position) {
  std::uint64_t expected = slot_word(position, SlotState::ready);
  return state.compare_exchange_strong(expected, slot_word(position, SlotState::revoked), std::memory_order_acq_rel,
                                       std::memory_order_relaxed);
}

enum class NextStep { wait, start, pass };
/// Worker: what to do at its position, given the state word that it sees there. A later position in the word means that
/// this one was taken back and its slot used again.
constexpr NextStep next_step(std::uint64_t word, std::uint64_t position) {
  if (word == slot_word(position, SlotState::ready)) return NextStep::start;
  if (word == slot_word(position, SlotState::revoked) || position_of(word) > position) return NextStep::pass;
  return NextStep::wait;
}

}  // namespace yoke::channel
