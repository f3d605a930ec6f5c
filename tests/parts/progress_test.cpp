// What tells a worker that hangs from one that is slow, by a clock that the tests turn.
#include "lib/local/progress.hpp"

#include <gtest/gtest.h>

namespace {

using namespace std::chrono_literals;
using namespace yoke;
using local::Progress;

const Clock::time_point start{1000s};

TEST(Progress, nothing_to_do) {
  Progress progress;
  progress.scan({}, false, true, start);
  EXPECT_FALSE(progress.any());
  EXPECT_FALSE(progress.unbegun());
  EXPECT_FALSE(progress.hangs());
}

TEST(Progress, what_was_seen_begun_stays_so) {
  Progress progress;
  progress.look(7, false, start);
  EXPECT_TRUE(progress.unbegun());
  EXPECT_TRUE(progress.of(7));
  progress.look(7, true, start + 1s);
  progress.look(7, false, start + 2s);  // the worker takes its word back
  EXPECT_FALSE(progress.unbegun());
  EXPECT_EQ(progress.begun_since(), start + 1s);
  EXPECT_EQ(progress.first_since(), start);
}

TEST(Progress, it_hangs_once_two_scans_saw_the_same_task_unbegun) {
  Progress progress;
  progress.scan(1, false, false, start);
  EXPECT_FALSE(progress.hangs());
  progress.look(1, false, start + 50ms);  // no scan
  EXPECT_FALSE(progress.unbegun_for_long());
  progress.scan(1, false, false, start + 100ms);
  EXPECT_TRUE(progress.hangs());
  progress.scan(1, true, false, start + 200ms);
  EXPECT_FALSE(progress.hangs()) << "it has begun";
}

TEST(Progress, another_task_is_another_count) {
  Progress progress;
  progress.scan(1, false, false, start);
  progress.scan(2, false, false, start + 100ms);
  EXPECT_FALSE(progress.hangs());
  EXPECT_EQ(progress.first_since(), start + 100ms);
}

TEST(Progress, a_worker_that_hung_is_well_only_when_it_begins_or_is_free) {
  Progress progress;
  progress.scan(1, false, false, start);
  progress.scan(1, false, false, start);
  progress.scan({}, false, false, start);  // what it had was taken back
  EXPECT_TRUE(progress.hangs());
  progress.scan({}, false, true, start);
  EXPECT_FALSE(progress.hangs());
}

TEST(Progress, a_worker_can_make_its_start_earlier_and_not_later) {
  Progress progress;
  progress.look(1, true, start);
  EXPECT_EQ(progress.start({}), start);
  EXPECT_EQ(progress.start(start - 1s), start - 1s);
  EXPECT_EQ(progress.start(start + 1s), start);
}

TEST(Progress, each_item_of_a_chunk_begins_where_the_one_before_was_seen_to_end) {
  Progress progress;
  progress.look(1, true, start);
  EXPECT_FALSE(progress.item_since());
  const auto after = [&](std::uint64_t done, Clock::time_point now) {
    progress.look_at_items(done, 10, start, now);
    return progress.item_since();
  };
  EXPECT_EQ(after(0, start + 1s), start);
  EXPECT_EQ(after(3, start + 2s), start + 2s);
  EXPECT_EQ(after(3, start + 3s), start + 2s);
  EXPECT_EQ(after(2, start + 4s), start + 2s) << "what was done stays done";
  EXPECT_EQ(after(10, start + 5s), start + 2s) << "all of them would be its end";
  progress.look(2, true, start + 6s);
  EXPECT_FALSE(progress.item_since()) << "it is of the task before";
  EXPECT_EQ(after(0, start + 7s), start);
}

}  // namespace
