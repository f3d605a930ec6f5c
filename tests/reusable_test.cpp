// A6, E1 to E10: the one executor of the program.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"
#include "yoke/reusable.hpp"

namespace {

using namespace yoke_test;
using yoke::get_reusable_executor;
using yoke::Reuse;

enum Word : unsigned { entered, gate };

int die(int signal) { kill_self(signal); }
std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "unset";
}
int greeting = 0;
void set_greeting(int value) { greeting = value; }
int get_greeting() { return greeting; }
void fail_to_start(const std::string& text) { throw std::runtime_error(text); }

class Reusable : public HouseTest {
 protected:
  void TearDown() override {
    // whatever pool is the current one: it ends here
    get_reusable_executor({.reuse = Reuse::always}).shutdown({.kill_workers = true});
    HouseTest::TearDown();
  }
  void prime_all(yoke::ReusableExecutor& executor, int workers) {
    yoke::Executor same(executor.pool());
    prime(same, workers, board);
  }
  static std::set<int> pids(const yoke::ReusableExecutor& executor) {
    std::set<int> all;
    for (const auto& worker : executor.stats().workers) all.insert(worker.pid);
    return all;
  }
};

TEST_F(Reusable, E1_same_options_same_pool) {
  auto one = get_reusable_executor({.max_workers = 2});
  prime_all(one, 2);
  auto two = get_reusable_executor({.max_workers = 2});
  EXPECT_EQ(one.executor_id(), two.executor_id());
  EXPECT_TRUE(two.reused());
  EXPECT_EQ(pids(one), pids(two));
  EXPECT_EQ(soon(two.submit(add_one, 1)).get(), 2);
  EXPECT_EQ(two.map(add_one, std::vector<int>{1, 2}).get(), (std::vector<int>{2, 3}));
}

TEST_F(Reusable, E1_designated_initialisers_and_defaults) {
  const auto one = get_reusable_executor();
  EXPECT_EQ(one.max_workers(), yoke::cpu_count());
  const auto two = get_reusable_executor({.max_workers = 4, .timeout = 2s});
  EXPECT_EQ(two.max_workers(), 4);
}

TEST_F(Reusable, E2_another_size_resizes) {
  auto one = get_reusable_executor({.max_workers = 2});
  prime_all(one, 2);
  const auto before = pids(one);
  auto more = get_reusable_executor({.max_workers = 4});
  EXPECT_EQ(more.executor_id(), one.executor_id());
  EXPECT_TRUE(more.reused());
  EXPECT_EQ(more.max_workers(), 4);
  prime_all(more, 4);
  for (const int pid : before) EXPECT_TRUE(pids(more).contains(pid));
  const auto fewer = get_reusable_executor({.max_workers = 1});
  EXPECT_EQ(fewer.executor_id(), one.executor_id());
  wait_until([&] { return fewer.stats().workers.size() == 1; }, "workers to leave");
}

TEST_F(Reusable, E3_other_options_make_a_new_pool_and_the_old_one_drains_behind) {
  auto old = get_reusable_executor({.max_workers = 2});
  auto running = old.submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  std::vector<yoke::ReusableOptions> others{{.max_workers = 2, .timeout = 7s},
                                            {.max_workers = 2, .env = {{"YOKE_TEST_VALUE", "1"}}},
                                            {.max_workers = 2, .initializer = yoke::initializer(set_greeting, 1)},
                                            {.max_workers = 2, .on_crash = yoke::CrashPolicy::break_pool},
                                            {.max_workers = 2, .max_tasks_per_worker = 5},
                                            {.max_workers = 2, .limits = {.core_size = 0}}};
  int id = old.executor_id();
  for (const auto& options : others) {
    auto fresh = get_reusable_executor(options);  // returns although a task of an older one runs
    EXPECT_EQ(fresh.executor_id(), ++id);
    EXPECT_FALSE(fresh.reused());
    EXPECT_EQ(soon(fresh.submit(add_one, 1)).get(), 2);
  }
  EXPECT_FALSE(running.done());
  board.add(gate);
  EXPECT_GT(soon(running).get(), 0);
}

TEST_F(Reusable, E4_always_keeps_pool_and_options) {
  auto one = get_reusable_executor({.max_workers = 2, .env = {{"YOKE_TEST_VALUE", "kept"}}});
  auto two = get_reusable_executor({.max_workers = 5, .reuse = Reuse::always});
  EXPECT_EQ(two.executor_id(), one.executor_id());
  EXPECT_EQ(two.max_workers(), 2);
  EXPECT_EQ(soon(two.submit(variable, "YOKE_TEST_VALUE")).get(), "kept");
}

TEST_F(Reusable, E4_also_after_a_breakage) {
  auto one = get_reusable_executor({.max_workers = 2,
                                    .env = {{"YOKE_TEST_VALUE", "kept"}},
                                    .initializer = yoke::initializer(set_greeting, 42),
                                    .on_crash = yoke::CrashPolicy::break_pool});
  death_of(one.submit(die, SIGKILL));
  auto two = get_reusable_executor({.reuse = Reuse::always});
  EXPECT_EQ(two.executor_id(), one.executor_id() + 1);
  EXPECT_FALSE(two.reused());
  EXPECT_EQ(two.max_workers(), 2);
  EXPECT_EQ(soon(two.submit(variable, "YOKE_TEST_VALUE")).get(), "kept");
  EXPECT_EQ(soon(two.submit(get_greeting)).get(), 42);
}

TEST_F(Reusable, E5_never_is_always_new) {
  const auto one = get_reusable_executor({.max_workers = 1});
  auto two = get_reusable_executor({.max_workers = 1, .reuse = Reuse::never});
  EXPECT_EQ(two.executor_id(), one.executor_id() + 1);
  EXPECT_FALSE(two.reused());
  EXPECT_EQ(soon(two.submit(add_one, 1)).get(), 2);
}

TEST_F(Reusable, E6_a_broken_one_is_replaced) {
  const yoke::ReusableOptions options{.max_workers = 2, .on_crash = yoke::CrashPolicy::break_pool};
  auto one = get_reusable_executor(options);
  death_of(one.submit(die, SIGKILL));
  EXPECT_THROW(one.submit(add_one, 1), yoke::BrokenProcessPool);
  auto two = get_reusable_executor(options);
  EXPECT_NE(two.executor_id(), one.executor_id());
  EXPECT_EQ(soon(two.submit(add_one, 1)).get(), 2);
}

TEST_F(Reusable, E6_one_that_was_shut_down_is_replaced) {
  auto one = get_reusable_executor({.max_workers = 2});
  one.shutdown();
  EXPECT_THROW(one.submit(add_one, 1), yoke::ShutdownExecutorError);
  auto two = get_reusable_executor({.max_workers = 2});
  EXPECT_NE(two.executor_id(), one.executor_id());
  EXPECT_EQ(soon(two.submit(add_one, 1)).get(), 2);
}

TEST_F(Reusable, E6_one_that_cannot_start_is_replaced) {
  auto one = get_reusable_executor({.max_workers = 1, .initializer = yoke::initializer(fail_to_start, "no luck")});
  EXPECT_THROW(soon(one.submit(add_one, 1)).get(), yoke::BrokenProcessPool);
  auto two = get_reusable_executor({.max_workers = 1});
  EXPECT_EQ(soon(two.submit(add_one, 1)).get(), 2);
}

TEST_F(Reusable, E7_kill_workers_returns_at_once) {
  auto one = get_reusable_executor({.max_workers = 2});
  const auto running = one.submit(pass_gate, board, entered, gate);  // for ever
  board.wait_for(entered);
  auto two = get_reusable_executor({.max_workers = 2, .reuse = Reuse::never, .kill_workers = true});
  EXPECT_THROW(soon(running).result(), yoke::ShutdownExecutorError);
  EXPECT_EQ(soon(two.submit(add_one, 1)).get(), 2);
}

TEST_F(Reusable, E8_ten_threads_get_map_and_resize) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 5; ++i) {
        auto executor = get_reusable_executor({.max_workers = 1 + (t + i) % 4});
        ASSERT_EQ(executor.map(add_one, std::vector<int>{1, 2, 3}).get(), (std::vector<int>{2, 3, 4}));
        executor.resize(1 + i % 3);
        ASSERT_EQ(soon(executor.submit(add_one, i)).get(), i + 1);
      }
    });
  for (auto& thread : threads) thread.join();
}

TEST_F(Reusable, E8_from_broken_pools_too) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 5; ++i) {
        auto executor = get_reusable_executor({.max_workers = 2, .on_crash = yoke::CrashPolicy::break_pool});
        try {
          if (t == 0) {
            soon(executor.submit(die, SIGKILL)).get();
          } else {
            ASSERT_EQ(soon(executor.submit(add_one, i)).get(), i + 1);
          }
        } catch (const yoke::BrokenProcessPool&) {  // another thread's doing
        }
      }
    });
  for (auto& thread : threads) thread.join();
  auto last = get_reusable_executor({.max_workers = 2});
  EXPECT_EQ(soon(last.submit(add_one, 1)).get(), 2);
}

TEST_F(Reusable, A6_a_callback_may_get_it_and_submit) {
  std::promise<int> told;
  get_reusable_executor({.max_workers = 2}).submit(add_one, 1).add_done_callback([&](const auto& done) {
    auto executor = get_reusable_executor({.max_workers = 1, .env = {{"YOKE_TEST_VALUE", "1"}}});  // another one
    told.set_value(soon(executor.submit(add_one, done.result())).get());
  });
  auto value = told.get_future();
  EXPECT_EQ(soon(value).get(), 3);
}

TEST_F(Reusable, A6_callbacks_and_threads_get_replace_resize_and_shut_it_down_at_once) {
  const auto use = [](int turn) {
    auto executor =
        get_reusable_executor({.max_workers = 1 + turn % 2, .env = {{"YOKE_TEST_VALUE", std::to_string(turn % 3)}}});
    if (turn % 7 == 6)
      executor.shutdown({.wait = turn % 2 == 0});
    else
      executor.resize(1 + turn % 3);
    return executor;
  };
  std::atomic<int> submitted{0}, called{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        try {
          const auto future = use(t + i).submit(add_one, i);
          ++submitted;
          future.add_done_callback([&, t, i](const auto&) {
            try {
              use(2 * t + i).submit(add_one, i);
            } catch (const yoke::ShutdownExecutorError&) {  // another callback's or thread's doing
            }
            ++called;
          });
        } catch (const yoke::ShutdownExecutorError&) {
        }
      }
    });
  for (auto& thread : threads) thread.join();
  wait_until([&] { return called == submitted; }, "all callbacks");
  EXPECT_GT(submitted, 0);
}

TEST_F(Reusable, E9_a_handle_of_a_replaced_pool_submits_to_the_current_one) {
  auto old = get_reusable_executor({.max_workers = 1});
  soon(old.submit(add_one, 1)).get();
  auto fresh = get_reusable_executor({.max_workers = 1, .env = {{"YOKE_TEST_VALUE", "fresh"}}});
  EXPECT_EQ(soon(old.submit(variable, "YOKE_TEST_VALUE")).get(), "fresh");
  EXPECT_EQ(old.executor_id(), fresh.executor_id());
  auto older = old;
  EXPECT_EQ(older.map(add_one, std::vector<int>{1, 2}).get(), (std::vector<int>{2, 3}));
}

TEST_F(Reusable, E9_a_handle_that_was_moved_from_is_one_still) {
  auto one = get_reusable_executor({.max_workers = 1});
  auto other = std::move(one);
  EXPECT_EQ(soon(one.submit(add_one, 1)).get(), 2);
  EXPECT_EQ(one.max_workers(), 1);
  EXPECT_EQ(one.pool(), other.pool());
}

TEST_F(Reusable, E9_while_another_thread_replaces_it) {
  std::atomic<bool> stop{false};
  std::thread replacer([&] {
    for (int i = 0; i < 30; ++i) get_reusable_executor({.max_workers = 1, .reuse = Reuse::never});
    stop = true;
  });
  auto handle = get_reusable_executor({.max_workers = 1, .reuse = Reuse::always});
  for (int i = 0; !stop; ++i) ASSERT_EQ(soon(handle.submit(add_one, i)).get(), i + 1);
  replacer.join();
}

TEST_F(Reusable, E10_initializers_compare_by_function_and_arguments) {
  const auto one = yoke::initializer(set_greeting, 1);
  EXPECT_EQ(one, yoke::initializer(set_greeting, 1));
  EXPECT_NE(one, yoke::initializer(set_greeting, 2));
  EXPECT_NE(one, yoke::initializer(fail_to_start, "1"));
  EXPECT_NE(one, yoke::Initializer());
  EXPECT_EQ(yoke::initializer(fail_to_start, std::string(1000, 'x')),
            yoke::initializer(fail_to_start, std::string(1000, 'x')));
  const auto a = get_reusable_executor({.max_workers = 1, .initializer = yoke::initializer(set_greeting, 1)});
  const auto b = get_reusable_executor({.max_workers = 1, .initializer = yoke::initializer(set_greeting, 1)});
  const auto c = get_reusable_executor({.max_workers = 1, .initializer = yoke::initializer(set_greeting, 2)});
  EXPECT_EQ(a.executor_id(), b.executor_id());
  EXPECT_NE(a.executor_id(), c.executor_id());
}

}  // namespace
