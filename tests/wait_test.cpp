// A8, A9: waiting for many futures. For every pool.
#include <atomic>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/any_pool.hpp"

namespace {

using namespace yoke_test;
using yoke::ReturnWhen;

enum Word : unsigned { entered, gate };

[[noreturn]] int fail() { throw std::runtime_error("no"); }

/// A value whose copies in this process are counted.
struct Tracked {
  static inline std::atomic<int> alive{0};
  Tracked() { ++alive; }
  Tracked(const Tracked&) { ++alive; }
  ~Tracked() { --alive; }
  Tracked& operator=(const Tracked&) = default;
  MSGPACK_DEFINE()
};
Tracked make_tracked() { return {}; }

class WaitTest : public AnyPoolTest {
 protected:
  using Futures = std::vector<yoke::Future<int>>;
  void open_gate() { board.add(gate); }
  yoke::Future<int> finished(int value) {
    auto future = executor->submit(add_one, value - 1);
    soon(future).wait();
    return future;
  }
  yoke::Future<int> failed() {
    auto future = executor->submit(fail);
    soon(future).wait();
    return future;
  }
};
YOKE_ANY_POOL(WaitTest);

TEST_P(WaitTest, A8_all_completed) {
  Futures futures;
  for (int i = 0; i < 20; ++i) futures.push_back(executor->submit(add_one, i));
  const auto [done, not_done] = yoke::wait(futures);
  EXPECT_EQ(done.size(), 20U);
  EXPECT_TRUE(not_done.empty());
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(done[i].result(0ms), static_cast<int>(i) + 1);
}

TEST_P(WaitTest, A8_first_completed) {
  const auto ready = finished(1);
  const auto first = busy(entered, gate);
  const auto [done, not_done] = yoke::wait(Futures{first, ready}, {}, ReturnWhen::first_completed);
  ASSERT_EQ(done.size(), 1U);
  ASSERT_EQ(not_done.size(), 1U);
  EXPECT_EQ(done[0].result(), 1);
  open_gate();
}

TEST_P(WaitTest, A8_first_completed_while_waiting) {
  const auto first = all_busy(entered, gate);
  const auto second = executor->submit(add_one, 1);
  std::thread canceller([&] { second.cancel(); });
  const auto result = yoke::wait(Futures{first[0], second}, {}, ReturnWhen::first_completed);
  canceller.join();
  ASSERT_EQ(result.done.size(), 1U);
  EXPECT_TRUE(result.done[0].cancelled());
  open_gate();
}

TEST_P(WaitTest, A8_first_exception) {
  const auto ready = finished(1);
  const auto wrong = failed();
  const auto first = busy(entered, gate);
  const auto [done, not_done] = yoke::wait(Futures{first, ready, wrong}, {}, ReturnWhen::first_exception);
  EXPECT_EQ(done.size(), 2U);
  EXPECT_EQ(not_done.size(), 1U);
  open_gate();
}

TEST_P(WaitTest, A8_a_cancelled_one_is_no_first_exception) {
  const auto first = all_busy(entered, gate);
  const auto second = executor->submit(add_one, 1);
  EXPECT_TRUE(second.cancel());
  const auto early = yoke::wait(Futures{first[0], second}, 5ms, ReturnWhen::first_exception);
  EXPECT_EQ(early.done.size(), 1U);  // it waited in vain for the other
  EXPECT_EQ(early.not_done.size(), 1U);
  open_gate();
  const auto late = yoke::wait(Futures{first[0], second}, 60s, ReturnWhen::first_exception);
  EXPECT_EQ(late.done.size(), 2U);
}

TEST_P(WaitTest, A8_a_timeout_splits) {
  const auto ready = finished(1);
  const auto first = busy(entered, gate);
  for (const auto limit : {0ms, 5ms}) {
    const auto [done, not_done] = yoke::wait(Futures{first, ready}, limit);
    EXPECT_EQ(done.size(), 1U);
    EXPECT_EQ(not_done.size(), 1U);
  }
  open_gate();
}

TEST_P(WaitTest, A8_duplicates_collapse) {
  const auto ready = finished(1);
  const auto other = finished(2);
  const auto [done, not_done] = yoke::wait(Futures{ready, other, ready, ready});
  ASSERT_EQ(done.size(), 2U);
  EXPECT_EQ(done[0].result(), 1);
  EXPECT_EQ(done[1].result(), 2);
}

TEST_P(WaitTest, A8_cancelled_counts_as_done_at_once) {
  const auto first = all_busy(entered, gate);
  Futures futures;
  for (int i = 0; i < 5; ++i) futures.push_back(executor->submit(add_one, i));
  for (const auto& future : futures) EXPECT_TRUE(future.cancel());
  EXPECT_EQ(yoke::wait(futures).done.size(), 5U);
  open_gate();
}

TEST_P(WaitTest, A8_nothing_to_wait_for) {
  const auto [done, not_done] = yoke::wait(Futures());
  EXPECT_TRUE(done.empty() && not_done.empty());
}

TEST_P(WaitTest, A8_several_threads_wait_for_the_same) {
  Futures futures;
  for (int i = 0; i < 50; ++i) futures.push_back(executor->submit(add_one, i));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&] { EXPECT_EQ(yoke::wait(futures).done.size(), 50U); });
  for (auto& thread : threads) thread.join();
}

TEST_P(WaitTest, A9_each_once) {
  Futures futures;
  for (int i = 0; i < 100; ++i) futures.push_back(executor->submit(add_one, i));
  for (std::size_t i = 0; i < 50; ++i) futures.push_back(Futures::value_type(futures[i]));  // duplicates
  std::multiset<int> values;
  for (auto future : yoke::as_completed(futures)) {
    EXPECT_TRUE(future.done());
    values.insert(future.result());
  }
  EXPECT_EQ(values.size(), 100U);
  EXPECT_EQ(std::set<int>(values.begin(), values.end()).size(), 100U);
}

TEST_P(WaitTest, A9_in_the_order_of_completion) {
  const auto ready = finished(1);
  const auto first = busy(entered, gate);
  auto range = yoke::as_completed(Futures{first, ready});
  auto it = range.begin();
  EXPECT_EQ((*it).result(), 1);
  open_gate();
  ++it;
  EXPECT_GT((*it).result(), 1);
  ++it;
  EXPECT_EQ(it, range.end());
}

TEST_P(WaitTest, A9_timeout_zero_yields_the_done_ones_then_throws) {
  const auto first = all_busy(entered, gate);
  Futures futures{first[0]};
  for (int i = 0; i < 3; ++i) {
    futures.push_back(executor->submit(add_one, i));
    EXPECT_TRUE(futures.back().cancel());
  }
  int yielded = 0;
  const auto error = thrown_by<yoke::TimeoutError>([&] {
    for (const auto& future : yoke::as_completed(futures, 0ms)) {
      EXPECT_TRUE(future.cancelled());
      ++yielded;
    }
  });
  EXPECT_EQ(yielded, 3);
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "1 (of 4) futures unfinished");
  open_gate();
}

TEST_P(WaitTest, A9_a_yielded_future_is_not_kept_alive) {
  std::vector<yoke::Future<Tracked>> futures;
  for (int i = 0; i < 3; ++i) futures.push_back(executor->submit(make_tracked));
  auto range = yoke::as_completed(std::exchange(futures, {}));
  int seen = 0;
  for (auto it = range.begin(); it != range.end(); ++it, ++seen) {
    {
      const auto future = *it;
      future.result();  // unpacked, and kept in the task
      EXPECT_GT(Tracked::alive, 0);
    }
    wait_until([] { return Tracked::alive == 0; }, "the value to go with the last handle but the range's");
  }
  EXPECT_EQ(seen, 3);
}

TEST_P(WaitTest, A9_leaving_early_is_harmless) {
  const auto first = all_busy(entered, gate);
  Futures futures{first[0]};
  for (int i = 0; i < 10; ++i) futures.push_back(executor->submit(add_one, i));
  futures.push_back(executor->submit(add_one, 1));
  EXPECT_TRUE(futures.back().cancel());
  for (const auto& future : yoke::as_completed(futures)) {
    EXPECT_TRUE(future.done());
    break;
  }
  open_gate();
  EXPECT_EQ(yoke::wait(futures).done.size(), futures.size());
}

TEST_P(WaitTest, A9_a_range_may_be_kept_anywhere) {
  auto range = yoke::as_completed(std::vector{executor->submit(add_one, 1)});
  std::vector<decltype(range)> kept;
  kept.push_back(std::move(range));
  EXPECT_EQ((*kept[0].begin()).get(), 2);
  EXPECT_THROW(range.begin(), std::future_error);
}

}  // namespace
