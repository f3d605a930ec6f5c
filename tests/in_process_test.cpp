// YOKE_IN_PROCESS=1: every pool runs its tasks in this process, in order.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"
#include "yoke/reusable.hpp"

namespace {

using namespace yoke_test;

std::vector<int> order;  // of this process: in workers it would stay empty here
int note(int value) {
  order.push_back(value);
  return value;
}
int greeting = 0;
void greet(int value) { greeting = value; }
[[noreturn]] void fail(const std::string& text) { throw std::runtime_error(text); }

class InProcess : public HouseTest {
 protected:
  void SetUp() override {
    HouseTest::SetUp();
    ::setenv("YOKE_IN_PROCESS", "1", 1);
    order.clear();
  }
  void TearDown() override {
    yoke::get_reusable_executor({.reuse = yoke::Reuse::always}).shutdown();
    ::unsetenv("YOKE_IN_PROCESS");
    HouseTest::TearDown();
  }
};

TEST_F(InProcess, tasks_run_here_and_in_order) {
  yoke::ProcessPoolExecutor pool(4);
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(pool.submit(note, i));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(soon(futures[static_cast<std::size_t>(i)]).get(), i);
  pool.shutdown();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order.at(static_cast<std::size_t>(i)), i);
  EXPECT_FALSE(has_children());
}

TEST_F(InProcess, the_reusable_executor_too) {
  auto executor = yoke::get_reusable_executor({.max_workers = 2, .reuse = yoke::Reuse::never});
  EXPECT_EQ(soon(executor.submit(own_pid)).get(), ::getpid());
}

TEST_F(InProcess, priorities_count) {
  yoke::ProcessPoolExecutor pool(1);
  const auto first = pool.submit(pass_gate, board, 0U, 1U);
  board.wait_for(0);
  std::vector<yoke::Future<int>> futures;
  for (const int priority : {0, 2, -1, 1}) futures.push_back(pool.submit({.priority = priority}, note, priority));
  board.add(1);
  yoke::wait(futures);
  pool.shutdown();
  EXPECT_EQ(order, (std::vector<int>{2, 1, 0, -1}));
}

TEST_F(InProcess, the_initializer_runs_first) {
  yoke::ProcessPoolExecutor pool({.initializer = yoke::initializer(greet, 7)});
  EXPECT_EQ(soon(pool.submit([](int) { return greeting; }, 0)).get(), 7);
}

TEST_F(InProcess, an_initializer_that_fails_breaks_the_pool) {
  yoke::ProcessPoolExecutor pool({.initializer = yoke::initializer(fail, "no luck")});
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(pool.submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("no luck"), std::string::npos) << error->what();
  EXPECT_THROW(pool.submit(add_one, 1), yoke::BrokenProcessPool);
}

TEST_F(InProcess, a_task_may_submit_to_its_own_pool) {
  static yoke::Executor* same = nullptr;
  yoke::ProcessPoolExecutor pool(1);
  same = &pool;
  auto inner = soon(pool.submit([](int v) { return same->submit(add_one, v), v; }, 1)).get();
  EXPECT_EQ(inner, 1);
}

TEST_F(InProcess, I13_a_fork_while_a_thread_uses_the_pool) {
  yoke::ProcessPoolExecutor pool(1);
  std::atomic<bool> over{false};
  std::thread user([&] {
    while (!over) pool.submit(note, 1).cancel();
  });
  for (int i = 0; i < 100; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(20);  // SIGALRM ends a fork that hangs
      pool.pause();
      pool.unpause();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  over = true;
  user.join();
}

TEST_F(InProcess, the_last_handle_may_be_a_task) {
  for (const bool cancelled : {false, true}) {
    const Board own = put_up_board();
    yoke::Future<int> first;
    {
      yoke::Executor pool(yoke::make_in_process_pool());
      first = pool.submit(pass_gate, own, 0U, 1U);
      const auto second = pool.submit(add_one, 1);
      own.wait_for(0);
      if (cancelled) second.cancel();
    }
    own.add(1);
    soon(first).wait();
    first = {};
    wait_until([] { return !threads().contains("yoke-in-process"); }, "the pool's thread to end");
    take_down(own);
  }
}

TEST_F(InProcess, shutdown_drops_or_cancels) {
  for (const bool kill : {false, true}) {
    const Board own = put_up_board();
    yoke::ProcessPoolExecutor pool(1);
    const auto first = pool.submit(pass_gate, own, 0U, 1U);
    own.wait_for(0);
    const auto second = pool.submit(add_one, 1);
    pool.shutdown({.wait = false, .kill_workers = kill, .cancel_futures = !kill});
    if (kill) {
      EXPECT_THROW(second.result(0ms), yoke::ShutdownExecutorError);
    } else {
      EXPECT_THROW(second.result(0ms), yoke::CancelledError);
    }
    own.add(1);
    shut_down_in_time(pool);
    EXPECT_EQ(first.result(0ms), ::getpid());
    take_down(own);
  }
}

}  // namespace
