// D1, D2, D8, D10, D14, D16, D23: workers come, stay, move and nest.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate, gate2 };

int own_rank() { return yoke::this_worker::rank(); }
int die(int signal) { kill_self(signal); }
std::pair<int, int> rank_behind_gate(const Board& board) {
  board.add(entered);
  board.wait_for(gate);
  return {yoke::this_worker::rank(), ::getpid()};
}

std::set<int> pids(const yoke::Executor& executor) {
  std::set<int> all;
  for (const auto& worker : executor.stats().workers)
    if (worker.state != yoke::WorkerState::leaving) all.insert(worker.pid);
  return all;
}

class LifeCycle : public PoolTest {
 protected:
  std::vector<yoke::Future<int>> occupy(int workers) {
    const auto before = board.get(entered);
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < workers; ++i) futures.push_back(pool->submit(pass_gate, board, entered, gate));
    board.wait_for(entered, before + static_cast<std::uint32_t>(workers));
    return futures;
  }
};

TEST_F(LifeCycle, D1_construction_starts_nothing) {
  restart(options());
  EXPECT_EQ(pool->stats().started, 0U);
  EXPECT_FALSE(has_children());
}

TEST_F(LifeCycle, D1_sequential_tasks_use_one_worker) {
  restart(options());
  std::set<int> used;
  for (int i = 0; i < 50; ++i) used.insert(soon(pool->submit(own_pid)).get());
  EXPECT_EQ(used.size(), 1U);
  EXPECT_EQ(pool->stats().started, 1U);
}

TEST_F(LifeCycle, D1_as_many_tasks_as_workers_run_at_once) {
  const auto futures = occupy(size);
  EXPECT_EQ(pool->stats().running, static_cast<unsigned>(size));
  const auto more = pool->submit(add_one, 1);
  EXPECT_EQ(more.state(), yoke::FutureState::pending);
  EXPECT_EQ(pool->stats().workers.size(), static_cast<unsigned>(size));
  board.add(gate);
  soon(more).wait();
}

/// Each wait but the last begins while most tasks of a deep ring are still out, and the long ones lie among them.
TEST_F(LifeCycle, D1_long_tasks_hold_up_no_short_ones) {
  for (int i = 0; i < 2000; ++i) soon(pool->submit(add_one, i)).get();  // so that many are given at once
  std::vector<yoke::Future<int>> shorts, longs;
  for (int i = 0; i < 5000; ++i) {
    if (i % 1000 == 500 && longs.size() + 1 < size) longs.push_back(pool->submit(pass_gate, board, entered, gate));
    shorts.push_back(pool->submit(add_one, i));
  }
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(soon(shorts[static_cast<std::size_t>(i)]).get(), i + 1);
  for (const auto& future : longs) EXPECT_FALSE(future.done());
  board.add(gate);
  for (auto& future : longs) soon(future).wait();
}

TEST_F(LifeCycle, D1_eager_workers_are_there_without_a_task) {
  restart({.max_workers = 3, .spawn_eagerly = true});
  wait_until([&] { return pool->stats().workers.size() == 3; }, "workers");
  EXPECT_EQ(pool->stats().submitted, 0U);
}

TEST_F(LifeCycle, D1_the_books_balance) {
  for (int i = 0; i < 100; ++i) soon(pool->submit(add_one, i)).get();
  soon(pool->submit([]() -> int { throw std::runtime_error("no"); })).wait();
  soon(pool->submit(die, SIGKILL)).wait();
  const auto stats = pool->stats();
  EXPECT_EQ(stats.submitted, 100U + 2 + size);
  EXPECT_EQ(stats.done, 100U + size);
  EXPECT_EQ(stats.failed, 2U);
  EXPECT_EQ(stats.waiting + stats.running + stats.cancelled, 0U);
  EXPECT_EQ(stats.deaths, 1U);
}

TEST_F(LifeCycle, D2_no_workers_are_refused) {
  EXPECT_THROW(yoke::ProcessPoolExecutor(0), std::invalid_argument);
  EXPECT_THROW(yoke::ProcessPoolExecutor(-1), std::invalid_argument);
  EXPECT_THROW(yoke::ProcessPoolExecutor({.max_tasks_per_worker = 0}), std::invalid_argument);
  EXPECT_THROW(pool->resize(0), std::invalid_argument);
  EXPECT_EQ(pool->max_workers(), size);
}

TEST_F(LifeCycle, D8_futures_outlive_their_executor) {
  may_write_stderr();
  yoke::Future<int> value, death;
  std::thread opener;
  {
    yoke::ProcessPoolExecutor gone(options());
    value = gone.submit(pass_gate, board, entered, gate);
    death = gone.submit(die, SIGSEGV);
    opener = std::thread([this] {
      board.wait_for(entered);
      board.add(gate);
    });
  }
  opener.join();
  EXPECT_GT(value.result(0ms), 0);
  EXPECT_FALSE(thrown_by<yoke::TerminatedWorkerError>([&] { death.result(0ms); })->death().task.empty());
}

TEST_F(LifeCycle, D8_a_moved_executor_goes_on) {
  yoke::ProcessPoolExecutor other = std::move(*pool);
  EXPECT_EQ(soon(other.submit(add_one, 1)).get(), 2);
  yoke::ProcessPoolExecutor third(1);
  third = std::move(other);
  EXPECT_EQ(soon(third.submit(add_one, 1)).get(), 2);
  pool.reset();
}

TEST_F(LifeCycle, D10_workers_outlive_the_thread_that_made_them) {
  int first = 0;
  std::thread([&] {
    restart({.max_workers = 1});
    first = soon(pool->submit(own_pid)).get();
  }).join();
  for (int i = 0; i < 20; ++i) {
    int pid = 0;
    std::thread([&] { pid = soon(pool->submit(own_pid)).get(); }).join();
    EXPECT_EQ(pid, first);
  }
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(LifeCycle, D14_a_larger_pool_runs_more_at_once) {
  const auto first = occupy(size);
  pool->resize(8);
  EXPECT_EQ(pool->max_workers(), 8);
  const auto more = occupy(3);
  for (const int pid : pids(*pool)) EXPECT_GT(pid, 0);
  EXPECT_EQ(pool->stats().running, 8U);
  board.add(gate);
}

TEST_F(LifeCycle, D14_a_smaller_pool_lets_running_tasks_finish) {
  const auto before = pids(*pool);
  auto running = occupy(size);
  pool->resize(2);  // returns although all are busy
  EXPECT_EQ(pool->max_workers(), 2);
  board.add(gate);
  for (auto& future : running) EXPECT_GT(soon(future).get(), 0);
  wait_until([&] { return pool->stats().workers.size() == 2; }, "workers to leave");
  for (const int pid : pids(*pool)) EXPECT_TRUE(before.contains(pid)) << "a survivor was replaced";
  EXPECT_EQ(pool->stats().deaths, 0U);
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(LifeCycle, D14_many_times_with_work_in_flight) {
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 200; ++i) {
    for (int k = 0; k < 5; ++k) futures.push_back(pool->submit(add_one, i));
    pool->resize(1 + i % 7);
  }
  for (std::size_t i = 0; i < futures.size(); ++i) ASSERT_EQ(soon(futures[i]).get(), static_cast<int>(i / 5) + 1);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(LifeCycle, D14_from_callbacks_with_work_in_flight) {
  std::atomic<int> resized{0};
  std::vector<yoke::Future<int>> futures;
  constexpr int tasks = 300;
  for (int i = 0; i < tasks; ++i) {
    futures.push_back(pool->submit(add_one, i));
    futures.back().add_done_callback([&](const auto&) {
      pool->resize(1 + resized % 7);
      ++resized;
    });
  }
  for (int i = 0; i < tasks; ++i) ASSERT_EQ(soon(futures[static_cast<std::size_t>(i)]).get(), i + 1);
  wait_until([&] { return resized == tasks; }, "all callbacks");
  EXPECT_EQ(pool->max_workers(), 1 + (tasks - 1) % 7);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

int nest(int levels) {
  if (levels == 0) return yoke::this_worker::depth();
  yoke::ProcessPoolExecutor inner(1);
  return inner.submit(nest, levels - 1).get();
}
TEST_F(LifeCycle, D16_pools_nest) {
  EXPECT_EQ(yoke::this_worker::depth(), 0);
  EXPECT_EQ(soon(pool->submit(nest, 0)).get(), 1);
  EXPECT_EQ(soon(pool->submit(nest, 9)).get(), 10);
}
TEST_F(LifeCycle, D16_but_not_too_deeply) {
  const auto error = thrown_by<yoke::RecursionError>([&] { soon(pool->submit(nest, 10)).get(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("YOKE_MAX_DEPTH"), std::string::npos) << error->what();
}
TEST_F(LifeCycle, D16_the_limit_can_be_set) {
  yoke::ExecutorOptions shallow = options();
  shallow.env["YOKE_MAX_DEPTH"] = "2";
  restart(shallow);
  EXPECT_EQ(soon(pool->submit(nest, 1)).get(), 2);
  EXPECT_THROW(soon(pool->submit(nest, 2)).get(), yoke::RecursionError);
}

TEST_F(LifeCycle, D23_ranks_are_unique_and_without_gaps) {
  EXPECT_EQ(yoke::this_worker::rank(), -1);
  EXPECT_FALSE(yoke::this_worker::is_worker());
  std::vector<yoke::Future<std::pair<int, int>>> futures;
  for (int i = 0; i < size; ++i) futures.push_back(pool->submit(rank_behind_gate, board));
  board.wait_for(entered, size);
  board.add(gate);
  std::set<int> ranks;
  for (auto& future : futures) ranks.insert(soon(future).get().first);
  EXPECT_EQ(ranks, (std::set<int>{0, 1, 2, 3, 4}));
}

TEST_F(LifeCycle, D23_a_rank_is_used_again_after_a_death) {
  for (int round = 0; round < 5; ++round) {
    death_of(pool->submit(die, SIGKILL));
    prime(*pool, size, board);
    std::set<int> ranks;
    for (const auto& worker : pool->stats().workers) ranks.insert(worker.rank);
    EXPECT_EQ(ranks, (std::set<int>{0, 1, 2, 3, 4}));
  }
  EXPECT_LT(soon(pool->submit(own_rank)).get(), size);
}

}  // namespace
