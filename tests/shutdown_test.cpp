// D3 to D6, and A10: the end of a pool, and of what it held.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate, ran, destroyed };

int die(int signal) { kill_self(signal); }
int run(const Board& board) { return static_cast<int>(board.add(ran)); }

class ShutdownTest : public PoolTest {
 protected:
  std::vector<yoke::Future<int>> occupy() {
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < size; ++i) futures.push_back(pool->submit(pass_gate, board, entered, gate));
    board.wait_for(entered, size);
    return futures;
  }
  std::vector<yoke::Future<int>> queue(int count) {
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < count; ++i) futures.push_back(pool->submit(run, board));
    return futures;
  }
};

TEST_F(ShutdownTest, D3_waits_for_all_work) {
  auto running = occupy();
  auto pending = queue(50);
  std::thread opener([this] { board.add(gate); });
  shut_down_in_time(*pool);
  opener.join();
  for (auto& future : running) EXPECT_GT(future.result(0ms), 0);
  for (auto& future : pending) EXPECT_GT(future.result(0ms), 0);
  EXPECT_EQ(board.get(ran), 50U);
  EXPECT_FALSE(has_children());
}

TEST_F(ShutdownTest, D3_without_waiting_work_finishes_behind) {
  auto running = occupy();
  auto pending = queue(50);
  pool->shutdown({.wait = false});  // returns although nothing can end
  EXPECT_FALSE(running.front().done());
  EXPECT_THROW(pool->submit(add_one, 1), yoke::ShutdownExecutorError);
  board.add(gate);
  for (auto& future : running) EXPECT_GT(soon(future).get(), 0);
  for (auto& future : pending) EXPECT_GT(soon(future).get(), 0);
}

TEST_F(ShutdownTest, D3_cancels_what_has_not_started) {
  auto running = occupy();
  auto pending = queue(50);
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i)
    waiters.emplace_back([&, i] {
      EXPECT_THROW(pending[static_cast<std::size_t>(i) * 10].result(), yoke::CancelledError);
      ++woken;
    });
  pool->shutdown({.wait = false, .cancel_futures = true});
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(woken, 4);
  for (auto& future : pending) EXPECT_TRUE(future.cancelled());
  board.add(gate);
  for (auto& future : running) EXPECT_GT(soon(future).get(), 0);
  EXPECT_EQ(board.get(ran), 0U);
  EXPECT_EQ(pool->stats().cancelled, 50U);
}

TEST_F(ShutdownTest, D3_kill_workers_ends_everything) {
  auto running = occupy();
  auto pending = queue(50);
  shut_down_in_time(*pool, {.kill_workers = true});
  EXPECT_FALSE(has_children());
  for (auto* futures : {&running, &pending})
    for (auto& future : *futures) EXPECT_THROW(future.result(0ms), yoke::ShutdownExecutorError);
  EXPECT_EQ(board.get(ran), 0U);
}

TEST_F(ShutdownTest, D3_kill_workers_after_a_shutdown_without_waiting) {
  const auto running = occupy();
  pool->shutdown({.wait = false});
  shut_down_in_time(*pool, {.kill_workers = true});
  for (const auto& future : running) EXPECT_THROW(future.result(0ms), yoke::ShutdownExecutorError);
}

TEST_F(ShutdownTest, D3_a_worker_that_ignores_sigterm_is_killed_too) {
  const auto future = pool->submit(
      [](const Board& b) -> int {
        ::signal(SIGTERM, SIG_IGN);
        b.add(entered);
        for (;;) ::pause();
      },
      board);
  board.wait_for(entered);
  shut_down_in_time(*pool, {.kill_workers = true});
  EXPECT_THROW(future.result(0ms), yoke::ShutdownExecutorError);
}

TEST_F(ShutdownTest, D4_twice_and_submit_throws) {
  shut_down_in_time(*pool);
  shut_down_in_time(*pool);
  shut_down_in_time(*pool, {.kill_workers = true});
  EXPECT_THROW(pool->submit(add_one, 1), yoke::ShutdownExecutorError);
  EXPECT_FALSE(pool->pool()->accepting());
}

TEST_F(ShutdownTest, D4_of_what_was_moved_from_and_has_no_pool) {
  yoke::ProcessPoolExecutor other(std::move(*pool));
  yoke::Executor none(nullptr);
  for (yoke::Executor* const empty : {static_cast<yoke::Executor*>(pool.get()), &none}) {
    const auto says_so = [](auto&& call) {
      const auto error = thrown_by<yoke::Error>(call);
      ASSERT_TRUE(error);
      EXPECT_NE(std::string(error->what()).find("moved from"), std::string::npos) << error->what();
    };
    says_so([&] { empty->submit(add_one, 1); });
    says_so([&] { empty->map(add_one, std::vector<int>{1}); });
    says_so([&] { empty->resize(2); });
    says_so([&] { empty->pause(); });
    says_so([&] { empty->unpause(); });
    says_so([&] { empty->max_workers(); });
    says_so([&] { empty->stats(); });
    says_so([&] { yoke::parallel_for(*empty, 0, 3, [](int) {}); });
    empty->shutdown();
    empty->shutdown({.wait = false, .kill_workers = true});
  }
  *pool = std::move(other);
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(ShutdownTest, D4_from_many_threads) {
  auto pending = queue(50);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i)
    threads.emplace_back([&, i] { pool->shutdown({.wait = i != 0, .cancel_futures = i == 1}); });
  for (auto& thread : threads) thread.join();
  for (auto& future : pending) EXPECT_TRUE(future.done());
  EXPECT_FALSE(has_children());
}

TEST_F(ShutdownTest, D4_from_a_callback) {
  std::promise<void> done;
  pool->submit(add_one, 1).add_done_callback([&](const auto&) {
    pool->shutdown();
    done.set_value();
  });
  auto told = done.get_future();
  soon(told).get();
  EXPECT_FALSE(has_children());
}

TEST_F(ShutdownTest, D4_of_a_broken_pool) {
  restart({.max_workers = 2, .on_crash = yoke::CrashPolicy::break_pool});
  death_of(pool->submit(die, SIGKILL));
  shut_down_in_time(*pool);
  EXPECT_THROW(pool->submit(add_one, 1), yoke::BrokenProcessPool);
}

TEST_F(ShutdownTest, D4_of_a_pool_that_never_started) {
  for (const bool kill : {false, true}) {
    yoke::ProcessPoolExecutor unused(2);
    shut_down_in_time(unused, {.kill_workers = kill});
    EXPECT_THROW(unused.submit(add_one, 1), yoke::ShutdownExecutorError);
  }
}

TEST_F(ShutdownTest, D4_while_workers_start) {
  for (int i = 0; i < 20; ++i) {
    restart({.max_workers = 3});
    std::vector<yoke::Future<int>> futures;
    for (int k = 0; k < 6; ++k) futures.push_back(pool->submit(add_one, k));
    shut_down_in_time(*pool, {.kill_workers = i % 2 == 0});
    for (const auto& future : futures) EXPECT_TRUE(future.done());
  }
}

TEST_F(ShutdownTest, D5_submit_and_cancel_then_shutdown) {
  for (int i = 0; i < 30; ++i) {
    restart({.max_workers = 1});
    const auto future = pool->submit(add_one, 1);
    const bool cancelled = future.cancel();
    shut_down_in_time(*pool);
    EXPECT_TRUE(future.done());
    EXPECT_EQ(future.cancelled(), cancelled);
  }
}

std::size_t length_behind_gate(const Board& board, const std::string& text) {
  board.add(entered);
  board.wait_for(gate);
  return text.size();
}
TEST_F(ShutdownTest, D6_kill_workers_with_large_arguments_queued) {
  const std::string text(10'000'000, 'x');
  for (std::uint32_t i = 0; i < 50; ++i) {
    restart({.max_workers = 2});
    std::vector<yoke::Future<std::size_t>> futures;
    for (int k = 0; k < 4; ++k) futures.push_back(pool->submit(length_behind_gate, board, text));
    board.wait_for(entered, 2 * (i + 1));
    shut_down_in_time(*pool, {.kill_workers = true});
    for (auto& future : futures) EXPECT_THROW(future.get(), yoke::ShutdownExecutorError);
    auto memory = shared_memory();
    EXPECT_EQ(memory["/memfd:yoke-segment (deleted)"], 0);
    EXPECT_EQ(memory["/memfd:yoke-message (deleted)"], 0);
  }
}

/// An argument that tells of its destruction in the worker.
struct Tracked {
  Board board;
  bool armed = false;
  explicit Tracked(const Board& b) : board(b) {}
  Tracked(Tracked&& other) noexcept : board(other.board), armed(std::exchange(other.armed, false)) {}
  Tracked(const Tracked& other) = default;
  ~Tracked() {
    if (armed) board.add(destroyed);
  }
};
}  // namespace
template <>
struct yoke::Codec<Tracked> {
  static void pack(Packer& packer, const Tracked& tracked) { pack_value(packer, tracked.board); }
  static Tracked unpack(const Object& object) {
    Tracked tracked(unpack_value<yoke_test::Board>(object));
    tracked.armed = this_worker::is_worker();
    return tracked;
  }
};
namespace {

int take(const Tracked&) { return 1; }

TEST_F(ShutdownTest, A10_arguments_are_released_in_the_worker_as_soon_as_the_task_is_over) {
  auto future = pool->submit(take, Tracked(board));
  soon(future).wait();
  board.wait_for(destroyed, 1);
  pool->submit(take, Tracked(board));  // the future is dropped
  board.wait_for(destroyed, 2);
}

Tracked give(const Board& board) {
  Tracked tracked(board);
  tracked.armed = true;
  return tracked;
}
TEST_F(ShutdownTest, A10_results_are_released_in_the_worker_as_soon_as_the_task_is_over) {
  auto future = pool->submit(give, board);
  soon(future).wait();
  board.wait_for(destroyed, 1);
  pool->submit(give, board);  // the future is dropped
  board.wait_for(destroyed, 2);
}

std::size_t length(const std::string& text) { return text.size(); }
TEST_F(ShutdownTest, A10_arguments_and_results_are_released_in_this_process) {
  const std::string text(1'000'000, 'x');
  std::vector<yoke::Future<std::size_t>> lengths;
  for (int i = 0; i < 50; ++i) {
    lengths.push_back(pool->submit(length, text));
    soon(lengths.back()).wait();
  }
  // a few are kept warm for the next message
  EXPECT_LE(descriptors()["/memfd:yoke-message (deleted)"], 4);
  std::vector<yoke::Future<std::string>> texts;
  for (int i = 0; i < 50; ++i) {
    texts.push_back(pool->submit([](std::size_t n) { return std::string(n, 'y'); }, text.size()));
    EXPECT_EQ(soon(texts.back()).get().size(), text.size());
  }
  EXPECT_LE(descriptors()["/memfd:yoke-message (deleted)"], 4);
}
TEST_F(ShutdownTest, A10_a_time_limit_that_has_not_come_keeps_neither_task_nor_pool) {
  soon(pool->submit(
           {.timeout = 24h}, [](std::size_t n) { return std::string(n, 'y'); }, std::size_t{1'000'000}))
      .wait();
  EXPECT_EQ(descriptors()["/memfd:yoke-message (deleted)"], 0);
  const std::weak_ptr<yoke::Pool> left = pool->pool();
  pool.reset();
  wait_until([&] { return left.expired(); }, "the pool to be destroyed");
}

TEST_F(ShutdownTest, A10_what_is_kept_warm_goes_back_when_it_is_not_used) {
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    std::size_t all = 0, here = 0;
    statm >> all >> here;
    return here * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) >> 20;  // megabytes
  };
  const std::size_t before = resident();
  {
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < 500'000; ++i) futures.push_back(pool->submit(add_one, i));
    for (auto& future : futures) future.get();
  }
  soon(pool->submit(length, std::string(100'000'000, 'x'))).get();
  if (!sanitized) wait_until([&] { return resident() < before + 50; }, "memory of tasks and messages to go back");
  wait_until([] { return descriptors()["/memfd:yoke-message (deleted)"] == 0; }, "the memory of messages to go back");
}

TEST_F(ShutdownTest, A10_also_when_the_futures_were_dropped) {
  const std::string text(1'000'000, 'x');
  for (int i = 0; i < 50; ++i) pool->submit([](const std::string& s) { return s + s; }, text);
  wait_until([&] { return pool->stats().done == 50U + size; }, "the tasks");
  EXPECT_LE(descriptors()["/memfd:yoke-message (deleted)"], 4);
}

}  // namespace
