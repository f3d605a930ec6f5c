// A3, A4, A5, A11, A14: the states of a future, waiting with and without limits, cancelling. For every pool.
#include <coroutine>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/support/any_pool.hpp"

namespace {

using namespace yoke_test;
using yoke::FutureState;

enum Word : unsigned { entered, gate, ran };

int mark(const Board& board) {
  board.add(ran);
  return 7;
}
[[noreturn]] int fail(const std::string& text) { throw std::out_of_range(text); }

class FutureTest : public AnyPoolTest {
 protected:
  void open_gate() { board.add(gate); }
};
YOKE_ANY_POOL(FutureTest);

TEST_P(FutureTest, A3_pending_then_running_then_finished) {
  auto first = all_busy(entered, gate);
  auto second = executor->submit(add_one, 1);
  EXPECT_EQ(first[0].state(), FutureState::running);
  EXPECT_TRUE(first[0].running());
  EXPECT_EQ(second.state(), FutureState::pending);
  EXPECT_FALSE(second.running() || second.done() || second.cancelled());
  open_gate();
  soon(second).wait();
  EXPECT_EQ(second.state(), FutureState::finished);
  EXPECT_TRUE(second.done());
  EXPECT_FALSE(second.running() || second.cancelled());
  soon(first[0]).wait();
  EXPECT_EQ(first[0].state(), FutureState::finished);
}

TEST_P(FutureTest, A3_however_many_wait_all_but_the_running_can_be_cancelled) {
  for (int i = 0; i < 200; ++i) soon(executor->submit(add_one, i)).get();  // tasks are known to be short: rings fill
  const auto first = all_busy(entered, gate);
  std::vector<yoke::Future<int>> waiting;
  for (int i = 0; i < 1000; ++i) waiting.push_back(executor->submit(mark, board));
  for (const auto& future : waiting) {
    ASSERT_EQ(future.state(), FutureState::pending);
    ASSERT_TRUE(future.cancel());
    ASSERT_EQ(future.state(), FutureState::cancelled);
  }
  open_gate();
  soon(first[0]).wait();
  soon(executor->submit(add_one, 1)).get();
  EXPECT_EQ(board.get(ran), 0U);
}

TEST_P(FutureTest, A4_cancel_is_true_while_pending) {
  const auto first = all_busy(entered, gate);
  auto second = executor->submit(mark, board);
  EXPECT_TRUE(second.cancel());
  EXPECT_TRUE(second.cancelled());
  EXPECT_TRUE(second.done());
  EXPECT_THROW(second.result(), yoke::CancelledError);
  EXPECT_THROW(second.exception(), yoke::CancelledError);
  EXPECT_THROW(second.get(), yoke::CancelledError);
  open_gate();
  soon(first[0]).wait();
  soon(executor->submit(add_one, 1)).get();
  EXPECT_EQ(board.get(ran), 0U);
}

TEST_P(FutureTest, A4_cancel_is_false_when_running_or_finished) {
  auto first = busy(entered, gate);
  EXPECT_FALSE(first.cancel());
  EXPECT_TRUE(first.running());
  open_gate();
  soon(first).wait();
  EXPECT_FALSE(first.cancel());
  EXPECT_FALSE(first.cancel(yoke::CancelMode::kill));
  EXPECT_FALSE(first.cancelled());
  EXPECT_GT(first.get(), 0);
}

TEST_P(FutureTest, A4_cancelling_twice_stays_cancelled) {
  const auto first = all_busy(entered, gate);
  const auto second = executor->submit(add_one, 1);
  EXPECT_TRUE(second.cancel());
  EXPECT_FALSE(second.cancel());
  EXPECT_TRUE(second.cancelled());
  open_gate();
}

TEST_P(FutureTest, A5_time_limits_leave_a_running_task_alone) {
  auto first = busy(entered, gate);
  EXPECT_THROW(first.result(0ms), yoke::TimeoutError);
  EXPECT_THROW(first.result(5ms), yoke::TimeoutError);
  EXPECT_THROW(first.exception(0ms), yoke::TimeoutError);
  EXPECT_THROW(first.exception(5ms), yoke::TimeoutError);
  EXPECT_THROW(first.result(-5ms), yoke::TimeoutError);
  EXPECT_EQ(first.wait_for(1ms), std::future_status::timeout);
  EXPECT_EQ(first.wait_until(std::chrono::system_clock::now() + 1ms), std::future_status::timeout);
  EXPECT_TRUE(first.running());
  open_gate();
  EXPECT_GT(first.result(60s), 0);
  EXPECT_GT(first.result(0ms), 0);
  EXPECT_EQ(first.exception(0ms), nullptr);
}

TEST_P(FutureTest, A5_time_limits_of_any_length) {
  using namespace std::chrono;
  auto first = busy(entered, gate);
  const auto expect_no_wait = [&](std::future_status status) { EXPECT_EQ(status, std::future_status::timeout); };
  const auto wait_not = [&](const auto& future) {
    expect_no_wait(future.wait_until(steady_clock::time_point::min()));
    expect_no_wait(future.wait_until(system_clock::time_point::min()));
    expect_no_wait(future.wait_until(system_clock::time_point()));
    expect_no_wait(future.wait_until(time_point<system_clock, hours>::min()));
    expect_no_wait(future.wait_until(time_point<steady_clock, duration<double>>(duration<double>(-1e300))));
    expect_no_wait(future.wait_for(nanoseconds::min()));
    expect_no_wait(future.wait_for(hours::min()));
    expect_no_wait(future.wait_for(duration<double>(-1e300)));
    expect_no_wait(future.wait_for(duration<float>(1e-9F)));
  };
  wait_not(first);
  const auto shared = yoke::Future<int>(first).share();
  wait_not(shared);
  EXPECT_THROW(first.result(milliseconds::min()), yoke::TimeoutError);
  EXPECT_THROW(first.exception(milliseconds::min()), yoke::TimeoutError);
  EXPECT_EQ(yoke::wait(std::vector{first}, milliseconds::min()).done.size(), 0U);
  EXPECT_THROW(yoke::as_completed(std::vector{first}, milliseconds::min()).begin(), yoke::TimeoutError);
  EXPECT_TRUE(first.running());
  const auto expect_wait = [&](const auto& wait) {
    auto next = executor->submit(add_one, 1);
    EXPECT_EQ(wait(next), std::future_status::ready);
  };
  open_gate();
  expect_wait([](auto& future) { return future.wait_until(steady_clock::time_point::max()); });
  expect_wait([](auto& future) { return future.wait_until(system_clock::time_point::max()); });
  expect_wait([](auto& future) { return future.wait_until(time_point<system_clock, hours>::max()); });
  expect_wait([](auto& future) { return future.wait_for(nanoseconds::max()); });
  expect_wait([](auto& future) { return future.wait_for(hours::max()); });
  expect_wait([](auto& future) { return future.wait_for(duration<double>(1e300)); });
  EXPECT_GT(first.result(milliseconds::max()), 0);
}

TEST_P(FutureTest, A5_time_limits_leave_a_pending_task_alone) {
  const auto first = all_busy(entered, gate);
  auto second = executor->submit(add_one, 1);
  EXPECT_THROW(second.result(0ms), yoke::TimeoutError);
  EXPECT_THROW(second.exception(2ms), yoke::TimeoutError);
  EXPECT_EQ(second.state(), FutureState::pending);
  open_gate();
  EXPECT_EQ(soon(second).get(), 2);
}

TEST_P(FutureTest, A5_every_time_limit_does_once_it_is_over) {
  const auto failed = executor->submit(fail, "no");
  soon(failed).wait();
  EXPECT_THROW(failed.result(0ms), std::out_of_range);
  EXPECT_THROW(failed.result(5ms), std::out_of_range);
  EXPECT_THROW(failed.result(), std::out_of_range);
  EXPECT_NE(failed.exception(0ms), nullptr);
  const auto first = all_busy(entered, gate);
  const auto cancelled = executor->submit(add_one, 1);
  EXPECT_TRUE(cancelled.cancel());
  EXPECT_THROW(cancelled.result(0ms), yoke::CancelledError);
  EXPECT_THROW(cancelled.result(5ms), yoke::CancelledError);
  EXPECT_THROW(cancelled.exception(0ms), yoke::CancelledError);
  EXPECT_EQ(cancelled.wait_for(0ms), std::future_status::ready);
  open_gate();
}

TEST_P(FutureTest, A5_a_timeout_names_the_task) {
  auto first = busy(entered, gate);
  const auto error = thrown_by<yoke::TimeoutError>([&] { first.result(1ms); });
  ASSERT_TRUE(error);
  EXPECT_NE(std::string(error->what()).find("pass_gate"), std::string::npos) << error->what();
  open_gate();
}

// How many threads, blocked in getters of one future, have been woken, and with what.
struct Getters {
  std::atomic<int> values{0}, errors{0}, cancelled{0};
  std::vector<std::thread> threads;
  std::promise<void> started[4];
  explicit Getters(const yoke::Future<int>& future) {
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([this, future, i] {
        started[i].set_value();
        try {
          if (i % 2 == 0)
            future.result();
          else if (future.exception())
            throw std::out_of_range("seen");
          ++values;
        } catch (const yoke::CancelledError&) {
          ++cancelled;
        } catch (const std::out_of_range&) {
          ++errors;
        }
      });
    for (auto& s : started) s.get_future().wait();
  }
  void join() {
    for (auto& thread : threads) thread.join();
  }
};

TEST_P(FutureTest, A5_all_getters_wake_on_a_value) {
  const auto future = busy(entered, gate);
  Getters getters(future);
  open_gate();
  getters.join();
  EXPECT_EQ(getters.values, 4);
}

TEST_P(FutureTest, A5_all_getters_wake_on_an_exception) {
  const auto first = all_busy(entered, gate);
  Getters getters(executor->submit(fail, "no"));
  open_gate();
  getters.join();
  EXPECT_EQ(getters.errors, 4);
}

TEST_P(FutureTest, A5_all_getters_wake_on_cancel) {
  const auto first = all_busy(entered, gate);
  const auto second = executor->submit(add_one, 1);
  Getters getters(second);
  EXPECT_TRUE(second.cancel());
  getters.join();
  EXPECT_EQ(getters.cancelled, 4);
  open_gate();
}

TEST_P(FutureTest, A5_getters_of_different_futures_do_not_wait_for_each_other) {
  const auto first = busy(entered, gate);
  std::thread blocked([&] { first.result(); });
  if (!in_process()) {
    for (int i = 0; i < 300; ++i) ASSERT_EQ(soon(executor->submit(add_one, i)).get(), i + 1);
  }
  open_gate();
  blocked.join();
}

TEST_P(FutureTest, A5_a_value_can_be_moved_out_once) {
  auto future = executor->submit([](const std::string& s) { return s + s; }, "ab");
  const auto copy = future;
  auto other = future;
  EXPECT_EQ(soon(copy).result(), "abab");
  EXPECT_EQ(future.get(), "abab");
  EXPECT_FALSE(future.valid());
  EXPECT_THROW(future.get(), std::future_error);
  EXPECT_THROW(other.get(), std::future_error);
  EXPECT_THROW(copy.result(), std::future_error);
}

TEST_P(FutureTest, A5_a_void_result_can_be_taken_once) {
  auto future = executor->submit([](int) {}, 1);
  auto other = future;
  soon(future).result();
  future.get();
  EXPECT_THROW(future.get(), std::future_error);
  EXPECT_THROW(other.get(), std::future_error);
}

TEST_P(FutureTest, A5_a_future_without_a_task_says_so) {
  yoke::Future<int> none;
  EXPECT_FALSE(none.valid());
  EXPECT_THROW(none.get(), std::future_error);
  EXPECT_THROW(none.wait(), std::future_error);
  EXPECT_THROW(none.cancel(), std::future_error);
  EXPECT_THROW(none.done(), std::future_error);
}

TEST_P(FutureTest, A11_every_exception_is_an_object_of_its_own) {
  const auto future = executor->submit(fail, "text");
  const auto object = [](const std::exception_ptr& error) -> const void* {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      return &e;
    }
  };
  const auto one = soon(future).exception();
  const auto two = future.exception();
  EXPECT_NE(object(one), object(two));
  const auto other = executor->submit(fail, "text");
  EXPECT_NE(object(one), object(soon(other).exception()));
}

TEST_P(FutureTest, A11_failures_of_the_pool_too) {
  const auto first = all_busy(entered, gate);
  const auto second = executor->submit(add_one, 1);
  const auto third = executor->submit(add_one, 1);
  executor->shutdown({.wait = false, .kill_workers = true});
  open_gate();
  const auto address = [](const std::exception_ptr& error) -> const void* {
    try {
      std::rethrow_exception(error);
    } catch (const yoke::ShutdownExecutorError& e) {
      return &e;
    }
  };
  const auto a = soon(second).exception(), b = soon(third).exception(), c = second.exception();
  ASSERT_TRUE(a && b && c);
  EXPECT_NE(address(a), address(b));
  EXPECT_NE(address(a), address(c));
}

// The least coroutine that can await.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};
Detached await_both(yoke::Executor executor, std::promise<std::string>& told) {
  std::string text = std::to_string(co_await executor.submit(add_one, 41));
  try {
    text += std::to_string(co_await executor.submit(fail, " and no"));
  } catch (const std::out_of_range& error) {
    text += error.what();
  }
  told.set_value(text);
}
TEST_P(FutureTest, A14_futures_can_be_awaited) {
  std::promise<std::string> told;
  await_both(*executor, told);
  auto text = told.get_future();
  EXPECT_EQ(soon(text).get(), "42 and no");
}

TEST_P(FutureTest, A14_futures_become_std_futures) {
  std::future<int> value = executor->submit(add_one, 41);
  std::future<int> error = executor->submit(fail, "no");
  std::future<void> nothing = executor->submit([](int) {}, 1);
  EXPECT_EQ(soon(value).get(), 42);
  EXPECT_THROW(soon(error).get(), std::out_of_range);
  soon(nothing).get();
}

TEST_P(FutureTest, M8_futures_are_keys) {
  std::unordered_map<yoke::Future<int>, int> inputs;
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 20; ++i) {
    futures.push_back(executor->submit(add_one, i));
    inputs[futures.back()] = i;
  }
  EXPECT_EQ(inputs.size(), 20U);
  EXPECT_EQ(futures[0], yoke::Future<int>(futures[0]));
  EXPECT_NE(futures[0], futures[1]);
  EXPECT_EQ(yoke::Future<int>(), yoke::Future<int>());
  for (auto future : yoke::as_completed(futures, hang_guard)) {
    const int input = inputs.at(future);
    EXPECT_EQ(future.get(), input + 1);
    EXPECT_NE(future, futures[static_cast<std::size_t>(input)]);  // it has been taken from this one
  }
}

TEST_P(FutureTest, M8_a_shared_future_gives_its_value_often) {
  auto future = executor->submit([](const std::string& text) { return text + "!"; }, "again");
  const auto shared = future.share();
  EXPECT_FALSE(future.valid());
  const yoke::SharedFuture<std::string> copy = shared;
  EXPECT_EQ(copy, shared);
  EXPECT_EQ(std::hash<yoke::SharedFuture<std::string>>()(copy), std::hash<yoke::Future<std::string>>()(copy.future()));
  std::thread other([copy] { EXPECT_EQ(copy.get(), "again!"); });
  EXPECT_EQ(shared.get(), "again!");
  EXPECT_EQ(shared.get(), "again!");
  other.join();
  EXPECT_EQ(shared.wait_for(0ms), std::future_status::ready);

  const auto failed = executor->submit(fail, "no").share();
  for (int i = 0; i < 2; ++i) EXPECT_THROW(failed.get(), std::out_of_range);
  const auto nothing = executor->submit([](int) {}, 1).share();
  for (int i = 0; i < 2; ++i) nothing.get();
  EXPECT_FALSE(yoke::SharedFuture<int>().valid());
  EXPECT_THROW(yoke::SharedFuture<int>().get(), std::future_error);
  std::shared_future<int> of_std = executor->submit(add_one, 41).share();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(soon(of_std).get(), 42);
}

TEST_P(FutureTest, A14_states_have_names) {
  EXPECT_STREQ(to_string(FutureState::pending), "pending");
  EXPECT_STREQ(to_string(FutureState::running), "running");
  EXPECT_STREQ(to_string(FutureState::cancelled), "cancelled");
  EXPECT_STREQ(to_string(FutureState::finished), "finished");
}

}  // namespace
