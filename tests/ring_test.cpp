// What a channel is made of: the slot protocol, the arena's books, the doorbell. Between two threads.
#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "lib/channel/arena_ring.hpp"
#include "lib/channel/doorbell.hpp"
#include "lib/channel/layout.hpp"
#include "lib/channel/slot.hpp"

namespace {

using namespace yoke;
using namespace yoke::channel;

TEST(Slot, the_worker_passes_over_what_was_taken_back) {
  EXPECT_EQ(next_step(slot_word(7, SlotState::ready), 7), NextStep::start);
  EXPECT_EQ(next_step(slot_word(7, SlotState::revoked), 7), NextStep::pass);
  EXPECT_EQ(next_step(slot_word(7 + slot_count, SlotState::ready), 7), NextStep::pass);
  EXPECT_EQ(next_step(slot_word(7, SlotState::empty), 7), NextStep::wait);
  EXPECT_EQ(next_step(slot_word(7 - 1, SlotState::ready), 7), NextStep::wait);
  EXPECT_EQ(next_step(0, 0), NextStep::wait);
}

TEST(Slot, a_task_is_started_or_taken_back_never_both) {
  constexpr std::uint64_t rounds = 20'000;
  std::vector<std::atomic<std::uint64_t>> states(rounds);
  std::vector<char> started(rounds), revoked(rounds);
  for (std::uint64_t i = 0; i < rounds; ++i) make_ready(states[i], i);
  std::thread worker([&] {
    for (std::uint64_t i = 0; i < rounds; ++i) started[i] = try_start(states[i], i);
  });
  for (std::uint64_t i = 0; i < rounds; ++i) revoked[i] = try_revoke(states[i], i);
  worker.join();
  for (std::uint64_t i = 0; i < rounds; ++i) {
    ASSERT_NE(started[i], revoked[i]);
    ASSERT_EQ(state_of(states[i]), started[i] ? SlotState::running : SlotState::revoked);
    ASSERT_EQ(position_of(states[i].load()), i);
  }
}

TEST(ArenaRing, pieces_never_overlap) {
  constexpr std::size_t size = 4096, alignment = 64;
  ArenaRing arena(size, alignment);
  struct Piece {
    std::uint64_t position;
    std::size_t begin, end;
  };
  std::deque<Piece> pieces;
  std::mt19937 random(1);
  std::size_t refused = 0;
  for (std::uint64_t position = 0; position < 100'000; ++position) {
    const std::size_t length = random() % (random() % 8 == 0 ? 3000 : 200);
    if (const auto at = arena.allocate(length, position)) {
      const std::size_t end = *at + length;
      ASSERT_EQ(*at % alignment, 0U);
      ASSERT_LE(end, size);
      for (const auto& piece : pieces) ASSERT_TRUE(end <= piece.begin || piece.end <= *at || length == 0);
      pieces.push_back({position, *at, end});
    } else {
      ++refused;
      ASSERT_FALSE(pieces.empty()) << "an empty arena has room for " << length;
    }
    while (!pieces.empty() && random() % 3 != 0) pieces.pop_front();
    arena.release_below(pieces.empty() ? position + 1 : pieces.front().position);
  }
  EXPECT_GT(refused, 0U);
}

TEST(ArenaRing, all_of_it_can_be_had) {
  ArenaRing arena(1024, 64);
  EXPECT_TRUE(arena.allocate(1024, 0));
  EXPECT_FALSE(arena.allocate(1, 1));
  arena.release_below(1);
  EXPECT_TRUE(arena.allocate(1024, 1));
  EXPECT_FALSE(ArenaRing(1024, 64).allocate(1025, 0));
}

TEST(Doorbell, no_ring_is_lost) {
  constexpr std::uint32_t rounds = 50'000;
  system::Word armed[2]{}, rung[2]{};
  std::atomic<std::uint32_t> work[2]{};  // what each side has been given
  const auto play = [&](int me) {
    const int other = 1 - me;
    Sleeper sleeper(armed[me], rung[me]);
    Ringer ringer(armed[other], rung[other]);
    for (std::uint32_t i = 1; i <= rounds; ++i) {
      if (me == 0) {
        work[other].store(i, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        ringer.ring_if_armed();
      }
      while (work[me].load(std::memory_order_acquire) < i) {
        sleeper.arm();
        while (work[me].load(std::memory_order_acquire) < i && !sleeper.rung()) sleeper.sleep({});
        sleeper.disarm();
      }
      if (me == 1) {
        work[other].store(i, std::memory_order_release);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        ringer.ring_if_armed();
      }
    }
  };
  std::thread other([&] { play(1); });
  play(0);  // hangs if a ring is lost
  other.join();
  EXPECT_EQ(work[0], rounds);
}

TEST(Doorbell, nobody_is_woken_who_does_not_sleep) {
  system::Word armed{}, rung{};
  Sleeper sleeper(armed, rung);
  Ringer ringer(armed, rung);
  EXPECT_FALSE(ringer.ring_if_armed());
  sleeper.arm();
  EXPECT_TRUE(ringer.ring_if_armed());
  EXPECT_TRUE(sleeper.rung());
  EXPECT_FALSE(ringer.ring_if_armed()) << "once for each sleep";
  sleeper.disarm();
  sleeper.arm();
  EXPECT_FALSE(sleeper.rung());
  EXPECT_TRUE(ringer.ring_if_armed());
}

}  // namespace
