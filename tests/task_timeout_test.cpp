// C8, D21: a task's own time limit. It counts from the task's start; SIGTERM, then SIGKILL.
#include <signal.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate, terminated, runs };

Board handlers_board;

int spin(const Board& board) {
  board.add(entered);
  for (volatile unsigned i = 0;;) i = i + 1;
}
int spin_until(const Board& board, unsigned gate_word) {
  board.add(entered);
  while (board.get(gate_word) == 0) {
  }
  return 0;
}
int rest_a_little(int value) {
  std::this_thread::sleep_for(1ms);
  return value;
}
int ignore_sigterm(const Board& board) {
  ::signal(SIGTERM, SIG_IGN);
  return spin(board);
}
int tell_of_sigterm(const Board& board) {
  handlers_board = board;
  ::signal(SIGTERM, [](int) {
    handlers_board.add(terminated);
    ::_exit(0);
  });
  return spin(board);
}
int stop_self(const Board& board) {
  board.add(entered);
  ::raise(SIGSTOP);
  return spin(board);
}
int slow_at_first(const Board& board, std::uint32_t times) {
  const std::uint32_t run = board.add(runs);
  if (run <= times) spin(board);
  return static_cast<int>(run);
}

class TaskTimeout : public PoolTest {
 protected:
  yoke::ExecutorOptions options() const override {
    auto options = PoolTest::options();
    options.kill_grace = 50ms;
    return options;
  }
};

TEST_F(TaskTimeout, C8_D21_a_task_that_spins_for_too_long) {
  const auto future = pool->submit({.timeout = 30ms}, spin, board);
  const auto error = thrown_by<yoke::TimeoutError>([&] { soon(future).result(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("30 ms"), std::string::npos) << error->what();
  EXPECT_NE(std::string(error->what()).find("spin"), std::string::npos) << error->what();
  prime(*pool, size, board);  // the worker is replaced
}

TEST_F(TaskTimeout, D21_a_task_in_time_is_left_alone) {
  for (int i = 0; i < 50; ++i) EXPECT_EQ(soon(pool->submit({.timeout = 60s}, add_one, i)).get(), i + 1);
  EXPECT_EQ(pool->stats().started, static_cast<unsigned>(size));
}

TEST_F(TaskTimeout, D21_counts_from_the_start) {
  restart({.max_workers = 1});
  const auto first = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  const auto second = pool->submit({.timeout = 5s}, add_one, 1);
  const auto third = pool->submit({.timeout = 1ms}, add_one, 1);  // waits for longer than it may run
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(third.state(), yoke::FutureState::pending);
  board.add(gate);
  EXPECT_EQ(soon(second).result(), 2);
  soon(third).wait();
  EXPECT_EQ(soon(first).result(), first.worker_pid());
}

TEST_F(TaskTimeout, D21_sigterm_comes_first) {
  const auto future = pool->submit({.timeout = 20ms}, tell_of_sigterm, board);
  EXPECT_THROW(soon(future).result(), yoke::TimeoutError);
  board.wait_for(terminated);
}

TEST_F(TaskTimeout, D21_then_sigkill) {
  const auto future = pool->submit({.timeout = 20ms}, ignore_sigterm, board);
  EXPECT_THROW(soon(future).result(), yoke::TimeoutError);
  const int pid = future.worker_pid();
  wait_until([&] { return ::kill(pid, 0) != 0; }, "the worker to be killed and reaped");
  prime(*pool, size, board);
}

TEST_F(TaskTimeout, D21_others_never_notice) {
  std::vector<yoke::Future<int>> others;
  for (int i = 0; i < 3; ++i) others.push_back(pool->submit(pass_gate, board, entered, gate));
  board.wait_for(entered, 3);
  const auto late = pool->submit({.timeout = 20ms}, spin, board);
  for (int i = 0; i < 200; ++i) others.push_back(pool->submit(add_one, i));
  EXPECT_THROW(soon(late).result(), yoke::TimeoutError);
  board.add(gate);
  for (auto& other : others) EXPECT_GT(soon(other).get(), 0);
}

TEST_F(TaskTimeout, D21_retries_after_a_timeout) {
  EXPECT_EQ(soon(pool->submit({.timeout = 30ms, .retries = 2}, slow_at_first, board, 2)).get(), 3);
  EXPECT_THROW(soon(pool->submit({.timeout = 30ms, .retries = 1}, slow_at_first, board, 100)).get(),
               yoke::TimeoutError);
  EXPECT_EQ(board.get(runs), 5U);
}

TEST_F(TaskTimeout, D21_is_no_crash_for_the_policy) {
  auto strict = options();
  strict.on_crash = yoke::CrashPolicy::break_pool;
  restart(strict);
  EXPECT_THROW(soon(pool->submit({.timeout = 20ms}, spin, board)).result(), yoke::TimeoutError);
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(TaskTimeout, C8_a_stopped_worker) {
  const auto future = pool->submit({.timeout = 50ms}, stop_self, board);
  board.wait_for(entered);
  EXPECT_THROW(soon(future).result(), yoke::TimeoutError);
  prime(*pool, size, board);
}

TEST_F(TaskTimeout, C8_an_idle_stopped_worker) {
  restart({.max_workers = 1});
  const int pid = soon(pool->submit(own_pid)).get();
  ::kill(pid, SIGSTOP);
  EXPECT_NE(soon(pool->submit(own_pid)).get(), pid);  // without any time limit
}

TEST_F(TaskTimeout, C8_a_worker_that_is_stopped_and_goes_on) {
  restart({.max_workers = 1});
  const auto future = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  const int pid = pool->stats().workers.at(0).pid;
  ::kill(pid, SIGSTOP);
  board.add(gate);
  EXPECT_THROW(future.result(300ms), yoke::TimeoutError);
  ::kill(pid, SIGCONT);
  EXPECT_EQ(soon(future).result(), pid);
}

TEST_F(TaskTimeout, A4_cancel_kill_ends_a_running_task) {
  const auto future = pool->submit(spin, board);
  board.wait_for(entered);
  EXPECT_FALSE(future.cancel());
  EXPECT_TRUE(future.cancel(yoke::CancelMode::kill));
  EXPECT_TRUE(future.cancelled());
  EXPECT_THROW(future.result(0ms), yoke::CancelledError);
  prime(*pool, size, board);
  EXPECT_EQ(pool->stats().deaths, 0U) << "it was asked for";
}

TEST_F(TaskTimeout, A4_cancel_kill_leaves_others_alone) {
  std::vector<yoke::Future<int>> others;
  for (int i = 0; i < 3; ++i) others.push_back(pool->submit(pass_gate, board, entered, gate));
  board.wait_for(entered, 3);
  const auto victim = pool->submit(ignore_sigterm, board);
  board.wait_for(entered, 4);
  for (int i = 0; i < 300; ++i) others.push_back(pool->submit(add_one, i));
  EXPECT_TRUE(victim.cancel(yoke::CancelMode::kill));
  board.add(gate);
  for (auto& other : others) EXPECT_GT(soon(other).get(), 0);
}

TEST_F(TaskTimeout, A4_cancel_kill_of_a_task_that_ends_just_then_does_not_hit_the_next) {
  restart({.max_workers = 1});
  constexpr unsigned first_gate = 100;
  int killed = 0;
  for (unsigned round = 0; round < 100; ++round) {
    auto one = pool->submit(spin_until, board, first_gate + round);
    auto next = pool->submit(rest_a_little, static_cast<int>(round));
    board.wait_for(entered, round + 1);
    board.add(first_gate + round);
    volatile unsigned spins = round * 149 % 4000;
    while (spins > 0) spins = spins - 1;
    if (one.cancel(yoke::CancelMode::kill)) ++killed;
    EXPECT_EQ(one.cancelled(), soon(one).cancelled());
    ASSERT_EQ(soon(next).get(), static_cast<int>(round));
  }
  EXPECT_EQ(pool->stats().cancelled, static_cast<unsigned>(killed));
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(TaskTimeout, A4_cancel_kill_of_a_task_that_begins_just_then_does_not_hit_the_next) {
  restart({.max_workers = 1});
  for (int round = 0; round < 200; ++round) {
    auto one = pool->submit(add_one, round);
    auto next = pool->submit(rest_a_little, round);
    volatile int spins = round * 149 % 4000;
    while (spins > 0) spins = spins - 1;
    one.cancel(yoke::CancelMode::kill);
    ASSERT_EQ(soon(next).get(), round);
  }
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(TaskTimeout, A4_cancel_kill_of_a_pending_task_kills_nobody) {
  restart({.max_workers = 1});
  const auto first = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  const auto second = pool->submit(add_one, 1);
  EXPECT_TRUE(second.cancel(yoke::CancelMode::kill));
  board.add(gate);
  EXPECT_GT(soon(first).result(), 0);
  EXPECT_EQ(pool->stats().started, 1U);
}

TEST_F(TaskTimeout, B9_in_a_map_it_costs_the_item_that_ran) {
  const auto slow_at_seven = [](const Board& b, int i) { return i == 7 ? spin(b) : i; };
  std::vector<int> input(20);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<int>(i);
  auto results = pool->map({.chunksize = 10, .task = {.timeout = 100ms}}, yoke::bind(slow_at_seven, board), input);
  int i = 0;
  for (auto it = results.begin(); it != results.end(); ++it, ++i) {
    if (i != 7) {
      EXPECT_EQ(*it, i);
    } else {
      const auto error = thrown_by<yoke::TimeoutError>([&] { *it; });
      ASSERT_TRUE(error);
      EXPECT_NE(std::string(error->what()).find("item 7 ran longer"), std::string::npos) << error->what();
    }
  }
  EXPECT_EQ(i, 20);
}

TEST_F(TaskTimeout, B9_it_is_the_time_of_an_item_and_not_of_its_chunk) {
  std::vector<int> input(300);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<int>(i);
  // Three times as long as the limit, all together.
  EXPECT_EQ(pool->map({.chunksize = 300, .task = {.timeout = 100ms}}, rest_a_little, input).get(), input);
}

TEST_F(TaskTimeout, B10_a_pool_that_breaks_ends_a_map) {
  auto strict = options();
  strict.on_crash = yoke::CrashPolicy::break_pool;
  restart(strict);
  const auto die_at_fifty = [](int i) {
    if (i == 50) kill_self(SIGKILL);
    return i;
  };
  std::vector<int> input(1000);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<int>(i);
  EXPECT_THROW(pool->map({.chunksize = 10}, die_at_fifty, input).get(), yoke::BrokenProcessPool);
  EXPECT_THROW(pool->map(add_one, input), yoke::BrokenProcessPool);
}

TEST_F(TaskTimeout, C8_limits_without_end_are_none) {
  constexpr auto never = std::chrono::milliseconds::max();
  restart({.max_workers = 1, .timeout = never, .start_timeout = never, .kill_grace = never});
  EXPECT_EQ(soon(pool->submit({.timeout = never}, add_one, 1)).get(), 2);
  const auto busy = pool->submit({.timeout = never}, spin_until, board, gate);
  const auto behind = pool->submit({.timeout = never}, add_one, 2);
  board.wait_for(entered, 1);
  EXPECT_EQ(pool->map({.task = {.timeout = never}}, add_one, std::vector<int>()).get(), std::vector<int>());
  auto mapped = pool->map({.chunksize = 2, .task = {.timeout = never}}, add_one, std::vector{1, 2, 3});
  std::this_thread::sleep_for(300ms);  // several liveness scans: each would find it late
  board.add(gate);
  EXPECT_EQ(soon(busy).result(), 0);
  EXPECT_EQ(soon(behind).result(), 3);
  EXPECT_EQ(mapped.get(), (std::vector{2, 3, 4}));
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(TaskTimeout, C8_no_time_at_all_ends_whatever_has_begun) {
  // A worker that begins at a bad moment was looked at again after the grace only: a task that takes less had its way.
  restart({.max_workers = 2, .restart_budget = {.deaths = 1000}, .kill_grace = 60s});
  for (const auto limit : {0ms, -5ms, std::chrono::milliseconds::min()}) {
    for (int i = 0; i < 8; ++i) {
      const auto future = pool->submit({.timeout = limit}, [] { std::this_thread::sleep_for(20s); });
      EXPECT_THROW(soon(future).result(), yoke::TimeoutError);
    }
  }
}

}  // namespace
