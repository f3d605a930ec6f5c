// D3, D9, D21, A4: when a worker is ended, or ends, everything below it does: the pools of its tasks, three deep, their
// workers, and all that those have started, as far as the kernel lets it be reached.
#include <signal.h>
#include <unistd.h>

#include <string>

#include "tests/support/pool_fixture.hpp"
#include "tests/support/process_tree.hpp"

namespace {

using namespace yoke_test;

constexpr int levels = 3;
enum Word : unsigned { grown, daemon_pid, pids };

/// As `grow`, in a worker that only SIGKILL ends.
int grow_and_ignore_sigterm(const Tree& tree, int below) {
  ::signal(SIGTERM, SIG_IGN);
  return grow(tree, below);
}

class WholeTree : public HouseTest {
 protected:
  void SetUp() override {
    HouseTest::SetUp();
    tree = {board, grown, pids};
    pool = std::make_unique<yoke::ProcessPoolExecutor>(yoke::ExecutorOptions{.max_workers = 1, .kill_grace = 100ms});
  }
  void TearDown() override {
    shut_down_in_time(*pool, {.kill_workers = true});
    pool.reset();
    HouseTest::TearDown();
  }
  void wait_until_grown() {
    board.wait_for(grown, tree_size(levels));
    wait_until([] { return descendants().size() == tree_size(levels); }, "the whole tree");
  }
  static void wait_until_all_are_gone() {
    wait_until([] { return descendants().empty(); }, "everything below the worker to end");
  }
  pid_t pid_of(int level) const { return static_cast<pid_t>(board.get(pids + static_cast<unsigned>(level))); }

  Tree tree;
  std::unique_ptr<yoke::ProcessPoolExecutor> pool;
};

TEST_F(WholeTree, D3_kill_workers_ends_it) {
  const auto future = pool->submit(grow, tree, levels);
  wait_until_grown();
  shut_down_in_time(*pool, {.kill_workers = true});
  EXPECT_THROW(future.result(0ms), yoke::ShutdownExecutorError);
  wait_until_all_are_gone();
}

TEST_F(WholeTree, A4_cancel_kill_ends_it) {
  const auto future = pool->submit(grow, tree, levels);
  wait_until_grown();
  EXPECT_TRUE(future.cancel(yoke::CancelMode::kill));
  wait_until_all_are_gone();
}

TEST_F(WholeTree, A4_cancel_kill_ends_it_where_sigterm_is_ignored) {
  const auto future = pool->submit(grow_and_ignore_sigterm, tree, levels);
  wait_until_grown();
  EXPECT_TRUE(future.cancel(yoke::CancelMode::kill));
  wait_until_all_are_gone();
}

TEST_F(WholeTree, D21_a_tasks_time_limit_ends_it) {
  const auto time_to_grow = sanitized ? 20s : 4s;
  for (const auto task : {grow, grow_and_ignore_sigterm}) {
    const auto before = board.get(grown);
    const auto future = pool->submit({.timeout = time_to_grow}, task, tree, levels);
    board.wait_for(grown, before + tree_size(levels));
    EXPECT_THROW(soon(future).result(), yoke::TimeoutError);
    wait_until_all_are_gone();
  }
}

TEST_F(WholeTree, D9_the_death_of_its_worker_ends_it) {
  const auto future = pool->submit(grow, tree, levels);
  wait_until_grown();
  ::kill(pid_of(levels), SIGKILL);
  EXPECT_EQ(death_of(future).pid, pid_of(levels));
  wait_until_all_are_gone();
}

TEST_F(WholeTree, D9_the_death_of_a_worker_in_its_middle_ends_what_is_below_that) {
  const auto future = pool->submit(grow, tree, levels);
  wait_until_grown();
  ::kill(pid_of(1), SIGKILL);
  EXPECT_EQ(soon(future).result(), levels);  // those above went on
  wait_until([] { return descendants().size() == 3; }, "all but the first worker and its children to end");
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(WholeTree, D9_it_ends_although_its_workers_are_stopped) {
  const auto future = pool->submit(grow, tree, levels);
  wait_until_grown();
  for (int level = 0; level < levels; ++level) ::kill(pid_of(level), SIGSTOP);
  ::kill(pid_of(levels), SIGKILL);
  death_of(future);
  wait_until_all_are_gone();
}

/// Starts a process that leaves the worker's process group, as daemons do.
int start_daemon(const Board& board) {
  if (::fork() == 0) {
    ::setsid();
    board.add(daemon_pid, static_cast<std::uint32_t>(::getpid()));
    for (;;) ::pause();
  }
  board.wait_for(daemon_pid);
  return static_cast<int>(board.get(daemon_pid));
}
TEST_F(WholeTree, D3_what_left_the_process_group_lives_on) {
  const pid_t daemon = soon(pool->submit(start_daemon, board)).get();
  shut_down_in_time(*pool, {.kill_workers = true});
  EXPECT_EQ(::kill(daemon, 0), 0);
  EXPECT_EQ(descendants().size(), 1U);
  ::kill(daemon, SIGKILL);
}

}  // namespace
