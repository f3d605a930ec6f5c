// G9, M1, C19: programs written for std::async and for BS::thread_pool, with the include and the type changed.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <limits>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/pool_fixture.hpp"
#include "yoke/compat/bs_thread_pool.hpp"
#include "yoke/compat/std_async.hpp"
#include "yoke/compat/taskflow.hpp"
#include "yoke/parallel_for.hpp"

namespace {

using namespace yoke_test;

int twice(int x) { return 2 * x; }
std::string shout(const std::string& text) { return text + "!"; }
void refuse() { throw std::out_of_range("refused"); }

/// The same program for both: `async` is std's or yoke's.
template <class Async>
std::vector<std::string> program_for_async(const Async& async) {
  std::vector<std::string> printed;
  std::future<int> plain = async(std::launch::async, twice, 21);
  printed.push_back(std::to_string(plain.get()));
  int factor = 3;
  std::vector<std::future<int>> squares;
  for (int i = 0; i < 5; ++i) squares.push_back(async(std::launch::async, [factor, i] { return factor * i; }));
  for (auto& square : squares) printed.push_back(std::to_string(square.get()));
  std::future<std::string> text = async(std::launch::async, shout, "no less");
  printed.push_back(text.get());
  std::future<void> failing = async(std::launch::async, refuse);
  try {
    failing.get();
  } catch (const std::out_of_range& error) {
    printed.push_back(error.what());
  }
  return printed;
}

using TaskflowFace = HouseTest;
using ParallelFor = PoolTest;

class StdAsync : public HouseTest {
 protected:
  void TearDown() override {
    auto pool = yoke::get_reusable_executor({.reuse = yoke::Reuse::always});
    pool.shutdown();
    HouseTest::TearDown();
  }
};

TEST_F(StdAsync, G9_the_same_program_gives_the_same) {
  const auto by_std = program_for_async([](auto... what) { return std::async(what...); });
  const auto by_yoke = program_for_async([](auto... what) { return yoke::async(what...); });
  EXPECT_EQ(by_std, by_yoke);
  EXPECT_EQ(by_yoke.size(), 8U);
}

TEST_F(StdAsync, G9_without_a_policy_and_as_a_future_of_yoke) {
  yoke::Future<int> future = yoke::async(twice, 4);
  EXPECT_EQ(soon(future).get(), 8);
  auto dead = yoke::async([] { kill_self(SIGKILL); });
  EXPECT_EQ(death_of(dead).signal, SIGKILL);
}

TEST_F(StdAsync, G7_a_captured_reference_is_refused) {
  int sum = 0;
  const auto error = thrown_by<yoke::SerializationError>([&] { yoke::async([&sum] { ++sum; }); });
  EXPECT_NE(std::string(error->what()).find("stack"), std::string::npos) << error->what();
}

class BsThreadPool : public HouseTest {
 protected:
  std::optional<yoke::bs::thread_pool> pool{std::in_place, 3U};
  void TearDown() override {
    pool.reset();
    HouseTest::TearDown();
  }
};

TEST_F(BsThreadPool, G9_tasks) {
  EXPECT_EQ(pool->get_thread_count(), 3U);
  auto answer = pool->submit_task([] { return 42; });
  EXPECT_EQ(soon(answer).get(), 42);
  int x = 6, y = 7;
  EXPECT_EQ(soon(pool->submit_task([x, y] { return x * y; }, 5)).get(), 42);
  EXPECT_THROW(soon(pool->submit_task(refuse)).get(), std::out_of_range);
  pool->reset(2);
  EXPECT_EQ(pool->get_thread_count(), 2U);
}

TEST_F(BsThreadPool, G9_blocks_give_all_indices_once) {
  auto sums = pool->submit_blocks(
      0, 1001,
      [](int first, int last) {
        int sum = 0;
        for (int i = first; i < last; ++i) sum += i;
        return sum;
      },
      7);
  EXPECT_EQ(sums.size(), 7U);
  EXPECT_TRUE(sums.valid());
  EXPECT_TRUE(sums.wait_for(60s));
  EXPECT_EQ(sums.ready_count(), 7U);
  const std::vector<int> parts = sums.get();
  EXPECT_EQ(std::accumulate(parts.begin(), parts.end(), 0), 1000 * 1001 / 2);
  EXPECT_EQ(pool->submit_blocks(-5, 5, [](int first, int last) { return last - first; }).size(), 3U);
  EXPECT_EQ(pool->submit_blocks(5, 5, [](int, int) {}).size(), 0U);
  EXPECT_EQ(pool->submit_blocks(0, 2, [](int, int) {}, 10).size(), 2U);
}

TEST_F(BsThreadPool, G9_loops_write_to_shared_arrays) {
  const yoke::SharedArray<double> squares(10'000);
  pool->submit_loop(0, 10'000, [view = squares.view()](int i) { view[static_cast<std::size_t>(i)] = i * i; }).get();
  for (std::size_t i = 0; i < squares.size(); ++i) ASSERT_EQ(squares[i], static_cast<double>(i * i));
  const yoke::SharedArray<int> counts(100);
  pool->detach_loop(0U, 100U, [view = counts.view()](unsigned i) { std::atomic_ref(view[i]).fetch_add(1); }, 10);
  pool->detach_sequence(0U, 100U, [view = counts.view()](unsigned i) { std::atomic_ref(view[i]).fetch_add(1); });
  pool->wait();
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), 200);
  auto texts = pool->submit_sequence(1, 4, [](int i) { return std::string(static_cast<std::size_t>(i), 'x'); });
  EXPECT_EQ(texts.get(), (std::vector<std::string>{"x", "xx", "xxx"}));
}

TEST_F(BsThreadPool, G9_waiting_and_purging) {
  pool->reset(1);
  auto busy = pool->submit_task(yoke::bind(pass_gate, board, 0U, 1U));
  board.wait_for(0);
  auto dropped = pool->submit_sequence(0, 10, twice);
  EXPECT_FALSE(pool->wait_for(1ms));
  const auto longest = std::chrono::hours::max();
  const auto first = std::chrono::steady_clock::time_point::min();
  EXPECT_FALSE(pool->wait_for(-longest));
  EXPECT_FALSE(pool->wait_until(first));
  EXPECT_FALSE(dropped.wait_for(-longest));
  EXPECT_FALSE(dropped.wait_until(first));
  EXPECT_EQ(pool->get_tasks_running(), 1U);
  EXPECT_EQ(pool->get_tasks_queued(), 10U);
  EXPECT_EQ(pool->get_tasks_total(), 11U);
  pool->purge();
  EXPECT_TRUE(dropped.wait_for(longest));
  EXPECT_TRUE(dropped.wait_until(std::chrono::system_clock::time_point::max()));
  for (auto& future : dropped) EXPECT_TRUE(future.cancelled());
  board.add(1);
  EXPECT_TRUE(pool->wait_for(longest));
  EXPECT_GT(busy.get(), 0);
}

TEST_F(BsThreadPool, G9_what_a_detached_task_throws_is_told) {
  std::promise<std::string> told;
  yoke::set_error_handler([&](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& thrown) {
      told.set_value(thrown.what());
    }
  });
  pool->detach_task(refuse);
  EXPECT_EQ(told.get_future().get(), "refused");
  yoke::set_error_handler(nullptr);
}

TEST_F(BsThreadPool, G9_its_end_waits_for_all) {
  const yoke::SharedArray<int> done(20);
  for (std::size_t i = 0; i < 20; ++i) pool->detach_task([view = done.view(), i] { view[i] = 1; });
  pool.reset();
  EXPECT_EQ(std::accumulate(done.begin(), done.end(), 0), 20);
}

TEST_F(BsThreadPool, G9_an_initializer_for_each_worker) {
  pool.reset();
  pool.emplace(2U, [] { ::setenv("YOKE_TEST_OF_BS", "on", 1); });
  EXPECT_EQ(soon(pool->submit_task([] { return std::string(::getenv("YOKE_TEST_OF_BS")); })).get(), "on");
}

// --- M7: what BS::thread_pool's own test program checks, as far as it can be over processes
// ----------------------------------

TEST_F(BsThreadPool, M7_while_it_is_paused_what_runs_goes_on_and_nothing_begins) {
  pool->reset(1);
  soon(pool->submit_sequence(0, 200, twice).back()).wait();  // tasks are known to be short: workers have some ahead
  auto running = pool->submit_task(yoke::bind(pass_gate, board, 0U, 1U));
  auto given = pool->submit_sequence(0, 5, twice);
  board.wait_for(0);
  EXPECT_FALSE(pool->is_paused());
  pool->pause();
  EXPECT_TRUE(pool->is_paused());
  auto later = pool->submit_task([] { return 42; });
  EXPECT_EQ(pool->get_tasks_running(), 1U);
  EXPECT_EQ(pool->get_tasks_queued(), 6U);
  EXPECT_FALSE(pool->wait_for(1ms));
  board.add(1);
  pool->wait();  // for what runs
  EXPECT_TRUE(running.done());
  for (const auto& future : given) EXPECT_EQ(future.state(), yoke::FutureState::pending);
  EXPECT_EQ(later.state(), yoke::FutureState::pending);
  pool->unpause();
  EXPECT_EQ(soon(later).get(), 42);
  EXPECT_EQ(given.get(), (std::vector<int>{0, 2, 4, 6, 8}));
}

TEST_F(BsThreadPool, M7_a_death_while_it_is_paused_costs_one_task) {
  pool->reset(1);
  auto dies = pool->submit_task(yoke::bind(
      [](const Board& gates) {
        gates.add(0);
        gates.wait_for(1);
        kill_self(SIGKILL);
      },
      board));
  board.wait_for(0);
  pool->pause();
  auto later = pool->submit_task([] { return 42; });
  board.add(1);
  EXPECT_EQ(death_of(dies).signal, SIGKILL);
  EXPECT_EQ(later.state(), yoke::FutureState::pending);
  pool->unpause();
  EXPECT_EQ(soon(later).get(), 42);
}

TEST_F(BsThreadPool, M7_the_end_of_a_paused_pool_drops_what_waits) {
  auto running = pool->submit_task(yoke::bind(pass_gate, board, 0U, 1U));
  board.wait_for(0);
  pool->pause();
  auto waiting = pool->submit_task([] { return 42; });
  board.add(1);
  pool.reset();
  EXPECT_TRUE(waiting.cancelled());
  EXPECT_GT(running.get(), 0);
}

TEST_F(BsThreadPool, M7_the_shutdown_of_a_paused_executor_finishes_what_waits) {
  pool->pause();
  auto waiting = pool->submit_task([] { return 42; });
  pool->executor().shutdown();
  EXPECT_EQ(waiting.get(), 42);
  yoke::Executor here(yoke::make_in_process_pool());
  here.pause();
  auto held = here.submit(twice, 4);
  EXPECT_EQ(held.state(), yoke::FutureState::pending);
  here.unpause();
  EXPECT_EQ(soon(held).get(), 8);
  here.pause();
  held = here.submit(twice, 5);
  here.shutdown();
  EXPECT_EQ(held.get(), 10);
}

int forty_two() { return 42; }
int seven() { return 7; }

TEST_F(BsThreadPool, M7_many_at_once) {
  const std::vector<int (*)()> tasks{forty_two, seven};
  EXPECT_EQ(pool->submit_bulk(tasks).get(), (std::vector<int>{42, 7}));
  EXPECT_EQ(pool->submit_bulk(tasks.begin() + 1, tasks.end(), yoke::bs::pr::high).get(), std::vector<int>{7});
  EXPECT_EQ(pool->submit_bulk(3, seven).get(), (std::vector<int>{7, 7, 7}));
  pool->detach_bulk(20, [counts = board] { counts.add(0); });
  pool->wait();
  EXPECT_EQ(board.get(0), 20U);
}

void remember_index(std::size_t index) { ::setenv("YOKE_TEST_INDEX", std::to_string(index).c_str(), 1); }
int remembered_index() {
  const char* index = ::getenv("YOKE_TEST_INDEX");
  return index ? std::atoi(index) : -1;
}

TEST_F(BsThreadPool, M7_an_initializer_has_the_index_of_its_worker) {
  pool.reset();
  pool.emplace(1U, remember_index);
  EXPECT_EQ(soon(pool->submit_task(remembered_index)).get(), 0);
  pool->reset(2, [](std::size_t index) { remember_index(10 + index); });
  std::vector<yoke::Future<int>> indices;
  for (int i = 0; i < 2; ++i)
    indices.push_back(pool->submit_task(yoke::bind(
        [](const Board& gates) {
          gates.add(0);
          gates.wait_for(0, 2);
          return remembered_index() - static_cast<int>(*yoke::bs::this_thread::get_index());
        },
        board)));
  for (auto& index : indices) EXPECT_EQ(soon(index).get(), 10);
  EXPECT_FALSE(yoke::bs::this_thread::get_index());
  pool->reset(1);  // without one
  EXPECT_EQ(soon(pool->submit_task(remembered_index)).get(), -1);
}

TEST_F(BsThreadPool, M7_every_worker_that_leaves_cleans_up) {
  pool.reset();
  pool.emplace(2U, [where = board] { where.add(0); });
  pool->set_cleanup_func([where = board](std::size_t index) { where.add(10 + static_cast<unsigned>(index)); });
  for (int i = 0; i < 2; ++i) pool->detach_task(yoke::bind(pass_gate, board, 1U, 2U));
  board.wait_for(1, 2);
  board.add(2);
  pool->wait();
  EXPECT_EQ(board.get(0), 2U);
  EXPECT_EQ(board.get(10) + board.get(11), 0U);
  pool.reset();
  EXPECT_EQ(board.get(10), 1U);
  EXPECT_EQ(board.get(11), 1U);
}

TEST_F(BsThreadPool, M7_higher_priorities_first) {
  pool->reset(1);
  const auto turn = [] {
    static int turns = 0;
    return ++turns;
  };
  pool->pause();
  auto low = pool->submit_task(turn, yoke::bs::pr::low);
  auto lowest = pool->submit_task(turn, yoke::bs::pr::lowest);
  auto normal = pool->submit_task(turn);
  auto highest = pool->submit_task(turn, yoke::bs::pr::highest);
  auto high = pool->submit_task(turn, yoke::bs::pr::high);
  pool->unpause();
  int expected = 0;
  for (auto* future : {&highest, &high, &normal, &low, &lowest}) EXPECT_EQ(soon(*future).get(), ++expected);
}

TEST_F(BsThreadPool, M7_ids_are_pids) {
  EXPECT_TRUE(pool->get_thread_ids().empty());
  auto one = pool->submit_task(own_pid);
  const int pid = soon(one).get();
  EXPECT_EQ(pool->get_thread_ids(), std::vector<int>{pid});
}

yoke::bs::wdc_thread_pool& its_own_pool() {
  static yoke::bs::wdc_thread_pool pool(1);
  return pool;
}

TEST_F(BsThreadPool, M7_a_task_that_waits_for_its_own_pool_is_told) {
  const auto wait_there = [] {
    try {
      its_own_pool().wait();
    } catch (const yoke::bs::wait_deadlock&) {
      return true;
    }
    return false;
  };
  EXPECT_TRUE(soon(pool->submit_task(wait_there)).get());
  yoke::bs::wdc_thread_pool outside(1);
  outside.wait();  // the program may
  EXPECT_TRUE(outside.wait_for(1ms));
}

TEST(BsTypes, M7_what_there_is_beside_the_pool) {
  using yoke::bs::common_index_type_t;
  static_assert(std::is_same_v<common_index_type_t<int, long>, long>);
  static_assert(std::is_same_v<common_index_type_t<std::uint8_t, std::uint32_t>, std::uint32_t>);
  static_assert(std::is_same_v<common_index_type_t<std::int8_t, std::uint8_t>, std::int16_t>);
  static_assert(std::is_same_v<common_index_type_t<std::uint16_t, int>, std::int32_t>);
  static_assert(std::is_same_v<common_index_type_t<int, unsigned>, std::int64_t>);
  static_assert(std::is_same_v<common_index_type_t<int, std::size_t>, std::size_t>);
  static_assert(yoke::bs::thread_pool_version >= yoke::bs::version(5, 1, 0) && BS_THREAD_POOL_VERSION_MAJOR == 5);
  static_assert(yoke::bs::pause_thread_pool::pause_enabled && yoke::bs::priority_thread_pool::priority_enabled);
  static_assert(std::is_same_v<yoke::bs::light_thread_pool, yoke::bs::thread_pool>);
  EXPECT_EQ(yoke::bs::version(5, 1, 0).to_string(), "5.1.0");

  const yoke::bs::blocks<int> blocks(-5, 10, 4);
  ASSERT_EQ(blocks.get_num_blocks(), 4U);
  EXPECT_EQ(blocks.start(0), -5);
  EXPECT_EQ(blocks.end(3), 10);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_EQ(blocks.start(i), blocks.end(i - 1));
  EXPECT_EQ(yoke::bs::blocks<int>(3, 3, 4).get_num_blocks(), 0U);

  std::ostringstream first, second;
  yoke::bs::synced_stream out(first);
  out.print("one", 1, yoke::bs::synced_stream::endl);
  out.add_stream(second);
  out.println("two", 2.5);
  out.remove_stream(first);
  out.print("three", yoke::bs::synced_stream::flush);
  EXPECT_EQ(first.str(), "one1\ntwo2.5\n");
  EXPECT_EQ(second.str(), "two2.5\nthree");
}

// As tf::Executor's documents show it, but for the arguments of closures.
TEST_F(TaskflowFace, G9_async_and_wait_for_all) {
  yoke::tf::Executor executor(2);
  EXPECT_EQ(executor.num_workers(), 2U);
  yoke::Future<int> future = executor.async([] { return 1; });
  EXPECT_EQ(soon(future).get(), 1);
  for (unsigned i = 0; i < 100; ++i)
    executor.silent_async([](const Board& counts, unsigned word) { counts.add(word); }, board, i % 10);
  executor.wait_for_all();
  for (unsigned word = 0; word < 10; ++word) EXPECT_EQ(board.get(word), 10U);
}

TEST_F(TaskflowFace, G9_a_name_is_shown_by_errors) {
  yoke::tf::Executor executor(1);
  const auto dead = executor.async("the one that dies", [] { kill_self(SIGKILL); });
  EXPECT_EQ(death_of(dead).task, "the one that dies");
}

TEST_F(TaskflowFace, G9_its_end_waits_for_all) {
  {
    yoke::tf::Executor executor(2);
    for (int i = 0; i < 20; ++i) executor.silent_async([](const Board& counts) { counts.add(0); }, board);
  }
  EXPECT_EQ(board.get(0), 20U);
}

TEST_F(ParallelFor, G9_every_turn_is_run_once) {
  for (const std::size_t count : {0U, 1U, 7U, 1000U}) {
    yoke::SharedArray<int> turns(count);
    yoke::parallel_for(*pool, std::size_t{0}, count,
                       [view = turns.view()](std::size_t i) { view[i] += static_cast<int>(i) + 1; });
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(turns[i], static_cast<int>(i) + 1);
  }
  yoke::SharedArray<int> turns(10);
  yoke::parallel_for(*pool, -5, 5, [view = turns.view()](int i) { ++view[static_cast<std::size_t>(i + 5)]; },
                     {.blocks = 100});
  EXPECT_EQ(std::accumulate(turns.begin(), turns.end(), 0), 10);
}

TEST(Blocks, G9_they_cover_all_indices_of_a_type) {
  std::vector<std::pair<int, int>> blocks;
  constexpr int least = std::numeric_limits<int>::min();
  constexpr int most = std::numeric_limits<int>::max();
  yoke::detail::each_block<int>(least, most, 3, [&](int begin, int end) { blocks.emplace_back(begin, end); });
  ASSERT_EQ(blocks.size(), 3U);
  EXPECT_EQ(blocks[0].first, least);
  EXPECT_EQ(blocks[0].second, blocks[1].first);
  EXPECT_EQ(blocks[1].second, blocks[2].first);
  EXPECT_EQ(blocks[2].second, most);
  EXPECT_LT(blocks[0].second, 0);
  EXPECT_GT(blocks[2].first, 0);
}

/// A pool that takes three tasks.
struct ShortLived {
  yoke::ProcessPoolExecutor& pool;
  int left = 3;
  int max_workers() const { return pool.max_workers(); }
  template <class... What>
  auto submit(What&&... what) {
    if (left-- == 0) throw yoke::ShutdownExecutorError("no more");
    return pool.submit(std::forward<What>(what)...);
  }
};

TEST_F(ParallelFor, G9_a_pool_that_ends_meanwhile_is_waited_for) {
  ShortLived short_lived{*pool};
  const auto body = [where = board](int) { where.add(0); };
  EXPECT_THROW(yoke::parallel_for(short_lived, 0, 10, body, {.blocks = 10}), yoke::ShutdownExecutorError);
  EXPECT_EQ(board.get(0), 3U);
}

TEST_F(ParallelFor, G9_what_the_body_throws_comes_after_all_other_blocks) {
  yoke::SharedArray<int> turns(100);
  const auto body = [view = turns.view()](int i) {
    if (i == 13) throw std::out_of_range("thirteen");
    if (i == 80) throw std::out_of_range("eighty");
    ++view[static_cast<std::size_t>(i)];
  };
  const auto error = thrown_by<std::out_of_range>([&] { yoke::parallel_for(*pool, 0, 100, body, {.blocks = 10}); });
  EXPECT_STREQ(error->what(), "thirteen");
  EXPECT_EQ(std::accumulate(turns.begin(), turns.end(), 0), 100 - 7 - 10);
}

TEST_F(ParallelFor, G9_a_worker_that_dies_costs_its_block) {
  yoke::SharedArray<int> turns(100);
  const auto body = [view = turns.view()](int i) {
    if (i == 13) kill_self(SIGKILL);
    ++view[static_cast<std::size_t>(i)];
  };
  const auto error = thrown_by<yoke::TerminatedWorkerError>(
      [&] { yoke::parallel_for(*pool, 0, 100, body, {.blocks = 10, .task = {.name = "turns"}}); });
  EXPECT_EQ(error->death().task, "turns");
  EXPECT_EQ(std::accumulate(turns.begin(), turns.end(), 0), 100 - 7);
}

TEST_F(BsThreadPool, M1_loops_over_signed_and_unsigned_bounds) {
  EXPECT_EQ(pool->submit_sequence(-5, 10U, [](auto i) { return static_cast<int>(i); }).get(),
            (std::vector<int>{-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(
      pool->submit_blocks(std::int8_t{-3}, std::uint16_t{3}, [](auto first, auto last) { return last - first; }).size(),
      3U);
  EXPECT_EQ(pool->submit_sequence(0U, -1, [](auto i) { return i; }).size(), 0U);
  EXPECT_EQ(pool->submit_sequence(std::size_t{2}, -1, [](auto i) { return i; }).size(), 0U);
  EXPECT_EQ(pool->submit_sequence(0, std::size_t{3}, [](std::size_t i) { return i; }).get(),
            (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(pool->submit_sequence(4'294'967'294U, 4'294'967'297L, [](auto i) { return i; }).size(), 3U);
  EXPECT_THROW(pool->submit_sequence(-1, std::size_t{3}, [](auto i) { return i; }), std::invalid_argument);
  const yoke::SharedArray<int> seen(10);
  pool->submit_loop(-5L, 5U, [view = seen.view()](auto i) { view[static_cast<std::size_t>(i + 5)] = 1; }).get();
  yoke::parallel_for(pool->executor(), -5, 5U,
                     [view = seen.view()](auto i) { view[static_cast<std::size_t>(i + 5)] += 1; });
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 20);
}

TEST_F(BsThreadPool, M1_results_are_not_kept_by_the_pool) {
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  pool->submit_task([] { return std::vector<char>(100'000); }).get();
  const auto before = descriptors();
  for (int i = 0; i < 40; ++i) pool->submit_task([] { return std::vector<char>(100'000); }).wait();
  EXPECT_LT(descriptors(), before + 10);  // each result that is kept holds one
}

TEST_F(BsThreadPool, C19_what_a_detached_task_throws_is_told_as_such) {
  expect_stderr("yoke: a detached task failed: refused");
  pool->detach_task(refuse);
  pool->wait();
  wait_until([this] { return stderr_text().find("refused") != std::string::npos; }, "the error to be printed");
}

}  // namespace
