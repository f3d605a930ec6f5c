// A7, C1, C3 to C7, C10 to C12: what a worker's death costs, and what it does not.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate, count, grandchild, pids = 100 };

int die(int signal) { kill_self(signal); }
int run_once(const Board& board, unsigned word) { return static_cast<int>(board.add(word)); }
/// Dies on its first `times` runs.
int die_at_first(const Board& board, std::uint32_t times) {
  const std::uint32_t run = board.add(count);
  if (run <= times) kill_self(SIGKILL);
  return static_cast<int>(run);
}
[[noreturn]] int count_and_throw(const Board& board) {
  board.add(count);
  throw std::runtime_error("no");
}

using CrashTest = PoolTest;

TEST_F(CrashTest, C3_other_tasks_finish_each_exactly_once) {
  for (int i = 0; i < 1000; ++i) pool->submit(add_one, i);  // short ones: the rings fill
  std::vector<yoke::Future<int>> dying, others;
  for (unsigned i = 0; i < 2000; ++i) {
    if (i % 200 == 100) dying.push_back(pool->submit(die, SIGKILL));
    others.push_back(pool->submit(run_once, board, 1000 + i));
  }
  for (const auto& future : dying) EXPECT_EQ(death_of(future).signal, SIGKILL);
  for (auto& future : others) ASSERT_EQ(soon(future).get(), 1);
  for (unsigned i = 0; i < 2000; ++i) ASSERT_EQ(board.get(1000 + i), 1U);
  EXPECT_EQ(pool->stats().deaths, dying.size());
}

TEST_F(CrashTest, A7_a_slow_callback_delays_no_report_of_a_crash) {
  std::promise<void> began, go_on;
  pool->submit(add_one, 1).add_done_callback([&began, released = go_on.get_future().share()](const auto&) {
    began.set_value();
    released.wait();
  });
  began.get_future().wait();
  EXPECT_EQ(death_of(pool->submit(die, SIGKILL)).signal, SIGKILL);
  prime(*pool, size, board);  // its place is filled
  go_on.set_value();
}

/// An argument whose destructor waits for the gate in the worker, when the result has been published.
struct Clinging {
  Board board;
  bool armed = false;
  explicit Clinging(const Board& b) : board(b) {}
  Clinging(Clinging&& other) noexcept : board(other.board), armed(std::exchange(other.armed, false)) {}
  Clinging(const Clinging&) = default;
  ~Clinging() {
    if (!armed) return;
    board.add(entered);
    board.wait_for(gate);
  }
};
}  // namespace
template <>
struct yoke::Codec<Clinging> {
  static void pack(Packer& packer, const Clinging& clinging) { pack_value(packer, clinging.board); }
  static Clinging unpack(const Object& object) {
    Clinging value(unpack_value<Board>(object));
    value.armed = this_worker::is_worker();
    return value;
  }
};
namespace {
int pass(const Clinging&) { return 1; }

TEST_F(CrashTest, C8_a_destructor_that_hangs_keeps_no_other_task_waiting) {
  restart({.max_workers = 2});
  prime(*pool, 2, board);
  EXPECT_EQ(soon(pool->submit(pass, Clinging(board))).get(), 1);
  board.wait_for(entered);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(soon(pool->submit(add_one, i)).get(), i + 1);
  board.add(gate);
  prime(*pool, 2, board);  // it is no worse for it
  EXPECT_EQ(pool->stats().deaths, 0U);
}

int rest(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return milliseconds;
}
TEST_F(CrashTest, C8_who_did_not_begin_a_task_within_its_limit_is_given_no_other) {
  restart({.max_workers = 2, .kill_grace = 200ms});
  prime(*pool, 2, board);
  EXPECT_EQ(soon(pool->submit(pass, Clinging(board))).get(), 1);
  board.wait_for(entered);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(soon(pool->submit({.timeout = 200ms}, add_one, i)).get(), i + 1);
  board.add(gate);
  std::vector<yoke::Future<int>> long_ones;
  for (int i = 0; i < 4; ++i) long_ones.push_back(pool->submit(rest, 1000));
  for (auto& one : long_ones) EXPECT_EQ(soon(one).get(), 1000);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

/// An argument whose destructor throws in the worker, when the result has been published.
struct Spiteful {
  bool with_number = false;
  bool armed = false;
  explicit Spiteful(bool number) : with_number(number) {}
  Spiteful(Spiteful&& other) noexcept : with_number(other.with_number), armed(std::exchange(other.armed, false)) {}
  Spiteful(const Spiteful&) = default;
  ~Spiteful() noexcept(false) {
    if (armed && with_number) throw 42;
    if (armed) throw std::runtime_error("out of a destructor");
  }
};
}  // namespace
template <>
struct yoke::Codec<Spiteful> {
  static void pack(Packer& packer, const Spiteful& value) { pack_value(packer, value.with_number); }
  static Spiteful unpack(const Object& object) {
    Spiteful value(unpack_value<bool>(object));
    value.armed = this_worker::is_worker();
    return value;
  }
};
namespace {

int spite(const Spiteful& value, const Board& board) {
  board.add(count);
  return value.with_number ? 2 : 1;
}
TEST_F(CrashTest, C1_C10_an_argument_that_throws_when_it_is_destroyed) {
  may_write_stderr();  // std::terminate speaks
  for (const bool with_number : {false, true}) {
    const auto deaths = pool->stats().deaths;
    EXPECT_EQ(soon(pool->submit({.retries = 3}, spite, Spiteful(with_number), board)).get(), with_number ? 2 : 1);
    wait_until([&] { return pool->stats().deaths == deaths + 1; }, "the worker to end: nobody could be told");
    prime(*pool, size, board);
  }
  EXPECT_EQ(board.get(count), 2U);
  EXPECT_EQ(pool->stats().deaths, 2U);
}

TEST_F(CrashTest, C3_a_worker_with_a_full_ring_dies) {
  restart({.max_workers = 1});
  for (int i = 0; i < 2000; ++i) soon(pool->submit(add_one, i)).get();
  auto first = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  std::vector<yoke::Future<int>> behind;
  for (unsigned i = 0; i < 1000; ++i) behind.push_back(pool->submit(run_once, board, 1000 + i));
  ::kill(pool->stats().workers.at(0).pid, SIGKILL);
  EXPECT_EQ(death_of(first).signal, SIGKILL);
  for (auto& future : behind) ASSERT_EQ(soon(future).get(), 1);
}

TEST_F(CrashTest, C3_break_pool_fails_all_unfinished) {
  yoke::ExecutorOptions strict = options();
  strict.on_crash = yoke::CrashPolicy::break_pool;
  restart(strict);
  prime(*pool, size, board);
  auto before = pool->submit(add_one, 1);
  soon(before).wait();
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < size - 1; ++i) futures.push_back(pool->submit(pass_gate, board, entered, gate));
  board.wait_for(entered, size - 1);
  const auto dying = pool->submit(die, SIGKILL);
  const int pid = death_of(dying).pid;
  for (const auto& future : futures) EXPECT_EQ(death_of(future).pid, pid);
  EXPECT_EQ(before.get(), 2);
  EXPECT_THROW(pool->submit(add_one, 1), yoke::TerminatedWorkerError);
  EXPECT_THROW(pool->submit(add_one, 1), yoke::BrokenProcessPool);
  EXPECT_FALSE(pool->pool()->accepting());
}

// 150 MB, at which a worker is killed in the middle.
struct Big {
  static constexpr std::size_t bytes = 150'000'000;
  enum class End { none, packing, unpacking } end = End::none;
  std::size_t size = 0;
};
}  // namespace
template <>
struct yoke::Codec<Big> {
  static void pack(Packer& packer, const Big& big) {
    const std::string part(Big::bytes / 10, 'x');
    packer.pack_array(11);
    pack_value(packer, big.end);
    for (int i = 0; i < 10; ++i) {
      if (i == 5 && big.end == Big::End::packing && this_worker::is_worker()) kill_self(SIGKILL);
      pack_value(packer, part);
    }
  }
  static Big unpack(const Object& object) {
    const auto items = detail::unpack_array(object, 11);
    Big big{unpack_value<Big::End>(items[0]), 0};
    for (std::size_t i = 1; i < 11; ++i) {
      if (i == 5 && big.end == Big::End::unpacking && this_worker::is_worker()) kill_self(SIGKILL);
      big.size += unpack_value<std::string>(items[i]).size();
    }
    return big;
  }
};
namespace {

Big make_big(Big::End end) { return {end, 0}; }
std::size_t size_of(const Big& big) { return big.size; }

TEST_F(CrashTest, C4_killed_while_it_writes_a_large_result) {
  EXPECT_EQ(soon(pool->submit(make_big, Big::End::none)).get().size, Big::bytes);
  const auto death = death_of(pool->submit(make_big, Big::End::packing));
  EXPECT_EQ(death.signal, SIGKILL);
  EXPECT_EQ(death.phase, yoke::Phase::encode);
  EXPECT_EQ(soon(pool->submit(make_big, Big::End::none)).get().size, Big::bytes);
}

TEST_F(CrashTest, C4_killed_while_it_reads_a_large_argument) {
  const auto death = death_of(pool->submit(size_of, Big{Big::End::unpacking, 0}));
  EXPECT_EQ(death.signal, SIGKILL);
  EXPECT_EQ(death.phase, yoke::Phase::decode);
  EXPECT_EQ(soon(pool->submit(size_of, Big{})).get(), Big::bytes);
}

TEST_F(CrashTest, C5_a_cancelled_future_and_then_a_death) {
  std::vector<yoke::Future<int>> running;
  for (int i = 0; i < size; ++i) running.push_back(pool->submit(pass_gate, board, entered, gate));
  board.wait_for(entered, size);
  std::vector<yoke::Future<int>> pending;
  for (int i = 0; i < 20; ++i) pending.push_back(pool->submit(add_one, i));
  for (std::size_t i = 0; i < pending.size(); i += 2) EXPECT_TRUE(pending[i].cancel());
  ::kill(pool->stats().workers.at(0).pid, SIGKILL);
  wait_until([&] { return pool->stats().deaths == 1; }, "the death");
  board.add(gate);
  int deaths = 0;
  for (const auto& future : running)
    if (soon(future).exception()) ++deaths;
  EXPECT_EQ(deaths, 1);
  for (std::size_t i = 0; i < pending.size(); ++i) {
    soon(pending[i]).wait();
    EXPECT_EQ(pending[i].cancelled(), i % 2 == 0);
  }
}

TEST_F(CrashTest, C5_a_cancelled_future_and_then_kill_workers) {
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 2 * size; ++i) futures.push_back(pool->submit(pass_gate, board, entered, gate));
  board.wait_for(entered, size);
  EXPECT_TRUE(futures.back().cancel());
  shut_down_in_time(*pool, {.kill_workers = true});
  for (const auto& future : futures) soon(future).wait();
  EXPECT_TRUE(futures.back().cancelled());
  EXPECT_THROW(futures.front().result(), yoke::ShutdownExecutorError);
}

/// Kills the worker that it was sent to, when it is destroyed there.
struct Fuse {
  int signal = 0;
  bool lit = false;

  explicit Fuse(int signal_) : signal(signal_) {}
  Fuse(Fuse&& other) noexcept : signal(other.signal), lit(std::exchange(other.lit, false)) {}
  Fuse& operator=(Fuse&&) = delete;
  ~Fuse() {
    if (lit) kill_self(signal);
  }
};
}  // namespace
template <>
struct yoke::Codec<Fuse> {
  static void pack(Packer& packer, const Fuse& fuse) { pack_value(packer, fuse.signal); }
  static Fuse unpack(const Object& object) {
    Fuse fuse(unpack_value<int>(object));
    fuse.lit = this_worker::is_worker();
    return fuse;
  }
};
namespace {

std::string repeat(const Fuse&, std::size_t length) { return std::string(length, 'x'); }

TEST_F(CrashTest, C10_a_result_outlives_the_worker_that_its_argument_kills) {
  may_write_stderr();  // a sanitizer reports the crashes
  const std::size_t lengths[] = {10, 10'000, 1'000'000};  // in the slot, in the arena, in memory of its own
  std::uint64_t deaths = 0;
  for (const int signal : {SIGKILL, SIGSEGV})
    for (const std::size_t length : lengths) {
      auto future = pool->submit(repeat, Fuse(signal), length);
      EXPECT_EQ(soon(future).get(), std::string(length, 'x'));
      ++deaths;
      wait_until([&] { return pool->stats().deaths == deaths; }, "the death");
    }
  prime(*pool, size, board);
  EXPECT_EQ(pool->stats().failed, 0U);
}

/// Once all are there, kills the next in the ring.
int kill_neighbour(const Board& board, unsigned me, unsigned all) {
  board.add(pids + me, static_cast<std::uint32_t>(::getpid()));
  board.add(entered);
  board.wait_for(entered, all);
  ::kill(static_cast<pid_t>(board.get(pids + (me + 1) % all)), SIGKILL);
  return static_cast<int>(me);
}
TEST_F(CrashTest, C6_workers_that_kill_each_other) {
  for (const unsigned all : {1U, 2U, 5U, 13U}) {
    const Board ring = put_up_board();
    restart({.max_workers = static_cast<int>(all)});
    std::vector<yoke::Future<int>> futures;
    for (unsigned i = 0; i < all; ++i) futures.push_back(pool->submit(kill_neighbour, ring, i, all));
    for (unsigned i = 0; i < all; ++i) {
      try {
        EXPECT_EQ(soon(futures[i]).result(), static_cast<int>(i));
      } catch (const yoke::TerminatedWorkerError& error) {
        EXPECT_EQ(error.death().signal, SIGKILL);
      }
    }
    EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
    take_down(ring);
  }
}

/// Leaves a process behind that has all that the worker has open, and a session of its own.
int leave_grandchild_and_die(const Board& board) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    board.add(grandchild, static_cast<std::uint32_t>(::getpid()));
    for (;;) ::pause();
  }
  board.wait_for(grandchild);
  kill_self(SIGSEGV);
}
TEST_F(CrashTest, C7_a_grandchild_does_not_hide_the_death) {
  may_write_stderr();
  death_of(pool->submit(leave_grandchild_and_die, board));
  const auto pid = static_cast<pid_t>(board.get(grandchild));
  EXPECT_EQ(::kill(pid, 0), 0) << "it was to outlive the report";
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
  ::kill(pid, SIGKILL);
}

TEST_F(CrashTest, C7_what_a_dead_task_left_in_its_group_is_ended) {
  may_write_stderr();
  const auto future = pool->submit(
      [](const Board& b) -> int {
        if (::fork() == 0)
          for (;;) ::pause();
        (void)b;
        kill_self(SIGSEGV);
      },
      board);
  death_of(future);  // the tear-down finds what is left
}

TEST_F(CrashTest, C11_retries_after_a_death) {
  auto future = pool->submit({.retries = 3}, die_at_first, board, 3);
  EXPECT_EQ(soon(future).get(), 4);
  EXPECT_EQ(pool->stats().retried, 3U);
}

TEST_F(CrashTest, C11_the_last_failure_names_every_death) {
  const auto future = pool->submit({.retries = 2}, die_at_first, board, 100);
  const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { soon(future).result(); });
  ASSERT_TRUE(error);
  const std::string text = error->what();
  EXPECT_EQ(board.get(count), 3U);
  std::size_t named = 0;
  for (auto at = text.find(") died: SIGKILL"); at != std::string::npos; at = text.find(") died: SIGKILL", at + 1))
    ++named;
  EXPECT_EQ(named, 3U) << text;
  EXPECT_NE(text.find("3 times"), std::string::npos) << text;
}

TEST_F(CrashTest, C11_not_without_being_asked) {
  death_of(pool->submit(die_at_first, board, 1));
  EXPECT_EQ(board.get(count), 1U);
}

TEST_F(CrashTest, C11_not_after_an_exception) {
  EXPECT_THROW(soon(pool->submit({.retries = 5}, count_and_throw, board)).result(), std::runtime_error);
  EXPECT_EQ(board.get(count), 1U);
}

TEST_F(CrashTest, C12_the_budget_for_deaths) {
  restart({.max_workers = 2, .restart_budget = {.deaths = 3, .within = 1000s}});
  for (int round = 0; round < 3; ++round) {  // where tasks finish between deaths there is progress
    for (int i = 0; i < 3; ++i) death_of(pool->submit(die, SIGKILL));
    EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
  }
  for (int i = 0; i < 3; ++i) death_of(pool->submit(die, SIGKILL));
  const auto last = pool->submit(die, SIGKILL);
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(last).result(); });
  wait_until([&] { return !pool->pool()->accepting(); }, "the pool to break");
  const auto refused = thrown_by<yoke::BrokenProcessPool>([&] { pool->submit(add_one, 1); });
  ASSERT_TRUE(error && refused);
  EXPECT_NE(std::string(refused->what()).find("restart_budget"), std::string::npos) << refused->what();
  EXPECT_NE(std::string(refused->what()).find("SIGKILL"), std::string::npos) << refused->what();
}

TEST_F(CrashTest, C18_a_batch_of_which_every_fourth_task_crashes_loses_those_alone) {
  restart({.max_workers = 2});
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 600; ++i) futures.push_back(i % 4 == 0 ? pool->submit(die, SIGKILL) : pool->submit(add_one, i));
  for (int i = 0; i < 600; ++i) {
    if (i % 4 == 0)
      EXPECT_THROW(soon(futures[static_cast<std::size_t>(i)]).result(), yoke::TerminatedWorkerError);
    else
      EXPECT_EQ(soon(futures[static_cast<std::size_t>(i)]).result(), i + 1);
  }
}

TEST_F(CrashTest, C12_a_start_that_hangs_breaks_the_pool_with_its_text) {
  // A worker that waits for a debugger, and none comes.
  restart({.max_workers = 1, .env = {{"YOKE_WORKER_STOP", "1"}}, .start_timeout = 200ms});
  const auto future = pool->submit(add_one, 1);
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(future).result(); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("not ready within start_timeout (200 ms)"), std::string::npos)
      << error->what();
}

TEST_F(CrashTest, C12_a_hundred_deaths_by_default) {
  restart({.max_workers = size, .restart_budget = {.within = 1000s}});
  std::vector<yoke::Future<int>> futures;
  try {
    for (int i = 0; i < 300; ++i) futures.push_back(pool->submit(die, SIGKILL));
  } catch (const yoke::BrokenProcessPool&) {  // it was quick
  }
  for (const auto& future : futures) EXPECT_THROW(soon(future).result(), yoke::BrokenProcessPool);
  wait_until([&] { return !pool->pool()->accepting(); }, "the pool to break");
  EXPECT_EQ(pool->stats().deaths, 101U);
}

/// Forks; the child comes out of the function as its parent does. How it ended, as the parent saw it: 0 if with 0.
int fork_and_come_back(bool by_throwing) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (by_throwing) throw std::runtime_error("the fork's");
    return -1;
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST_F(CrashTest, C9_a_fork_of_a_task_that_comes_out_of_it_ends_and_answers_nothing) {
  for (int i = 0; i < 10; ++i)
    for (const bool by_throwing : {false, true})
      EXPECT_EQ(soon(pool->submit(fork_and_come_back, by_throwing)).get(), 0);
  const std::vector<char> ways(100, 0);
  const std::vector<int> none(100, 0);
  EXPECT_EQ(pool->map([](char) { return fork_and_come_back(false); }, ways).get(), none);
  EXPECT_EQ(pool->map([](char) { return std::to_string(fork_and_come_back(true)); }, ways).get(),
            std::vector<std::string>(100, "0"));
  EXPECT_THROW(soon(pool->submit(die, SIGKILL)).result(), yoke::TerminatedWorkerError) << "no fork serves in its place";
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(CrashTest, C2_an_exit_code_of_0_is_told_as_well) {
  for (const int code : {0, 3}) {
    for (int i = 0; i < 30; ++i) {
      const auto future = pool->submit([](int how) { ::_exit(how); }, code);
      const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { soon(future).result(); });
      ASSERT_TRUE(error);
      EXPECT_NE(std::string(error->what()).find("exited with code " + std::to_string(code)), std::string::npos)
          << error->what();
    }
  }
}

TEST_F(CrashTest, C9_a_worker_whose_descriptors_a_task_closed_is_replaced) {
  restart({.max_workers = 1});
  soon(pool->submit([] { ::close_range(3, ~0U, 0); })).result();
  const auto lengthen = [](int n) { return std::string(static_cast<std::size_t>(n), 'x'); };
  int failed = 0;
  for (int i = 0; i < 5; ++i) {
    try {
      EXPECT_EQ(soon(pool->submit(lengthen, 1'000'000)).get().size(), 1'000'000U);
    } catch (const yoke::SerializationError& error) {
      EXPECT_NE(std::string(error.what()).find("Bad file descriptor"), std::string::npos) << error.what();
      ++failed;
    }
  }
  EXPECT_LE(failed, 1);
}

}  // namespace
