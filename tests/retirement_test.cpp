// D11, D12: workers that leave: after a time without work, or after so many tasks. No task is lost by it.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

int fail_or_pid(bool fail) {
  if (fail) throw std::runtime_error("no");
  return ::getpid();
}

struct SlowToPack {
  int value = 0;
};
}  // namespace
template <>
struct yoke::Codec<SlowToPack> {
  static void pack(Packer& packer, const SlowToPack& slow) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pack_value(packer, slow.value);
  }
  static SlowToPack unpack(const Object& object) { return {unpack_value<int>(object)}; }
};
namespace {

SlowToPack pass(const SlowToPack& slow) { return slow; }

using Retirement = PoolTest;

TEST_F(Retirement, D11_idle_workers_leave_and_come_back) {
  restart({.max_workers = 3, .timeout = 20ms});
  for (int round = 0; round < 3; ++round) {
    prime(*pool, 3, board);
    wait_until([&] { return pool->stats().workers.empty(); }, "idle workers to leave");
  }
  EXPECT_GE(pool->stats().started, 9U);  // more, where one left before the last of a round had started
  EXPECT_EQ(pool->stats().deaths, 0U);
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(Retirement, D11_a_busy_worker_stays) {
  restart({.max_workers = 1, .timeout = 1ms});
  enum : unsigned { entered, gate };
  auto future = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  std::this_thread::sleep_for(20ms);  // many times its timeout
  board.add(gate);
  EXPECT_GT(soon(future).get(), 0);
}

TEST_F(Retirement, D11_a_worker_that_starts_up_is_not_idle) {
  // It stops in its start, as if to wait for a debugger, and what it was started for is taken from it.
  restart({.max_workers = 1, .timeout = 1ms, .env = {{"YOKE_WORKER_STOP", "1"}}});
  auto future = pool->submit(add_one, 1);
  wait_until([&] { return !pool->stats().workers.empty(); }, "the start");
  const auto pid = static_cast<id_t>(pool->stats().workers[0].pid);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
  ASSERT_TRUE(future.cancel());
  std::this_thread::sleep_for(20ms);  // many times the timeout
  ASSERT_EQ(pool->stats().workers.size(), 1U);
  EXPECT_EQ(pool->stats().workers[0].state, yoke::WorkerState::starting);
  ::kill(static_cast<pid_t>(pid), SIGCONT);
  wait_until([&] { return pool->stats().workers.empty(); }, "it to be ready, and to leave");
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(Retirement, D11_no_task_is_lost_with_the_least_timeout) {
  restart({.max_workers = 3, .timeout = 1ms});
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(soon(pool->submit(add_one, i)).get(), i + 1);
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(500 + 7 * i));  // about when it leaves
  }
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(Retirement, D11_nor_with_slow_packing) {
  restart({.max_workers = 2, .timeout = 1ms});
  std::vector<yoke::Future<SlowToPack>> futures;
  for (int i = 0; i < 60; ++i) futures.push_back(pool->submit(pass, SlowToPack{i}));
  for (int i = 0; i < 60; ++i) ASSERT_EQ(soon(futures[static_cast<std::size_t>(i)]).get().value, i);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(Retirement, D12_each_worker_runs_at_most_that_many) {
  restart({.max_workers = 2, .max_tasks_per_worker = 3});
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 60; ++i) futures.push_back(pool->submit(own_pid));
  std::map<int, int> ran;
  for (auto& future : futures) ++ran[soon(future).get()];
  for (const auto& [pid, tasks] : ran) EXPECT_LE(tasks, 3);
  EXPECT_GE(ran.size(), 20U);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(Retirement, D12_one_worker_one_task_each) {
  restart({.max_workers = 1, .max_tasks_per_worker = 1});
  std::set<int> pids;
  for (int i = 0; i < 10; ++i) pids.insert(soon(pool->submit(own_pid)).get());
  EXPECT_EQ(pids.size(), 10U);
}

TEST_F(Retirement, D12_failing_tasks_count) {
  restart({.max_workers = 1, .max_tasks_per_worker = 2});
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 21; ++i) futures.push_back(pool->submit(fail_or_pid, i % 3 == 0));
  for (std::size_t i = 0; i < 21; ++i) EXPECT_EQ(soon(futures[i]).exception() != nullptr, i % 3 == 0);
  EXPECT_GE(pool->stats().started, 11U);
}

TEST_F(Retirement, D12_shutdown_at_the_same_time) {
  for (int round = 0; round < 10; ++round) {
    restart({.max_workers = 3, .max_tasks_per_worker = 2});
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < 30; ++i) futures.push_back(pool->submit(add_one, i));
    shut_down_in_time(*pool);
    for (int i = 0; i < 30; ++i) ASSERT_EQ(futures[static_cast<std::size_t>(i)].result(0ms), i + 1);
  }
}

TEST_F(Retirement, D12_with_timeouts_too) {
  restart({.max_workers = 2, .timeout = 1ms, .max_tasks_per_worker = 2});
  for (int i = 0; i < 60; ++i) ASSERT_EQ(soon(pool->submit(add_one, i)).get(), i + 1);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

}  // namespace
