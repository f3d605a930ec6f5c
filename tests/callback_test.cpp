// A6, A7, A15, I19: callbacks. For every pool.
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/any_pool.hpp"
#include "yoke/reusable.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate };

[[noreturn]] int fail() { throw std::runtime_error("no"); }

/// What callbacks tell, to be waited for.
class Notes {
 public:
  void add(std::string text) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(text));
    changed_.notify_all();
  }
  std::vector<std::string> wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, hang_guard, [&] { return all_.size() >= count; }))
      throw std::runtime_error("callbacks do not come");
    return all_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> all_;
};

class CallbackTest : public AnyPoolTest {
 protected:
  void TearDown() override {
    yoke::set_error_handler({});
    AnyPoolTest::TearDown();
  }
  void open_gate() { board.add(gate); }
  Notes notes;
};
YOKE_ANY_POOL(CallbackTest);

std::string describe(const yoke::Future<int>& future) {
  try {
    return std::to_string(future.result(0ms));
  } catch (const yoke::CancelledError&) {
    return "cancelled";
  } catch (const std::exception& error) {
    return error.what();
  }
}

TEST_P(CallbackTest, A6_called_once_each_in_order) {
  const auto future = busy(entered, gate);
  for (int i = 0; i < 5; ++i) future.add_done_callback([this, i](const auto&) { notes.add(std::to_string(i)); });
  open_gate();
  soon(future).wait();
  future.add_done_callback([this](const auto&) { notes.add("last"); });
  EXPECT_EQ(notes.wait(6), (std::vector<std::string>{"0", "1", "2", "3", "4", "last"}));
}

TEST_P(CallbackTest, A6_in_order_when_the_task_ends_while_they_are_added) {
  constexpr int callbacks = 1000;
  for (unsigned round = 0; round < 10; ++round) {
    const auto future = busy(entered, 100 + round);
    std::atomic<int> called{0}, misplaced{0};
    const auto add = [&](int number) {
      future.add_done_callback([&, number](const auto&) {
        if (called != number) ++misplaced;
        ++called;
      });
    };
    for (int i = 0; i < callbacks; ++i) add(i);
    board.add(100 + round);
    while (!future.done()) std::this_thread::yield();
    add(callbacks);  // those before are being handed over
    wait_until([&] { return called == callbacks + 1; }, "all callbacks");
    ASSERT_EQ(misplaced, 0);
  }
}

TEST_P(CallbackTest, A6_with_value_exception_and_cancel) {
  const auto first = all_busy(entered, gate);
  const auto note = [this](const yoke::Future<int>& done) { notes.add(describe(done)); };
  const auto cancelled = executor->submit(add_one, 1);
  cancelled.add_done_callback(note);
  EXPECT_TRUE(cancelled.cancel());
  EXPECT_EQ(notes.wait(1).back(), "cancelled");
  const auto value = executor->submit(add_one, 1);
  value.add_done_callback(note);
  open_gate();
  EXPECT_EQ(notes.wait(2).back(), "2");
  const auto error = executor->submit(fail);
  error.add_done_callback(note);
  EXPECT_EQ(notes.wait(3).back(), "no");
}

TEST_P(CallbackTest, A6_at_once_when_added_late) {
  const auto future = executor->submit(add_one, 1);
  soon(future).wait();
  future.add_done_callback([this](const auto& done) { notes.add(describe(done)); });
  EXPECT_EQ(notes.wait(1).back(), "2");
}

TEST_P(CallbackTest, A6_never_on_the_thread_that_resolves_or_submits) {
  const auto future = executor->submit(add_one, 1);
  std::promise<std::thread::id> told;
  future.add_done_callback([&](const auto&) { told.set_value(std::this_thread::get_id()); });
  const auto id = told.get_future().get();
  EXPECT_NE(id, std::this_thread::get_id());
}

TEST_P(CallbackTest, A6_one_that_throws_is_reported_and_the_next_still_runs) {
  yoke::set_error_handler([this](const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      notes.add(std::string("reported ") + e.what());
    } catch (int value) {
      notes.add("reported " + std::to_string(value));
    }
  });
  const auto future = busy(entered, gate);
  future.add_done_callback([](const auto&) { throw std::runtime_error("one"); });
  future.add_done_callback([](const auto&) { throw 2; });
  future.add_done_callback([this](const auto&) { notes.add("three"); });
  open_gate();
  EXPECT_EQ(notes.wait(3), (std::vector<std::string>{"reported one", "reported 2", "three"}));
}

TEST_P(CallbackTest, A6_without_a_handler_stderr_tells) {
  expect_stderr("a callback of a future threw: this text");
  const auto future = executor->submit(add_one, 1);
  future.add_done_callback([](const auto&) { throw std::runtime_error("this text"); });
  future.add_done_callback([this](const auto&) { notes.add("next"); });
  notes.wait(1);
}

TEST_P(CallbackTest, A6_a_handler_that_throws_is_reported_too) {
  expect_stderr("the handler's own");
  yoke::set_error_handler([](const std::exception_ptr&) { throw std::runtime_error("the handler's own"); });
  const auto future = executor->submit(add_one, 1);
  future.add_done_callback([](const auto&) { throw 1; });
  future.add_done_callback([this](const auto&) { notes.add("next"); });
  notes.wait(1);
}

TEST_P(CallbackTest, A6_may_submit) {
  std::promise<int> told;
  const auto future = executor->submit(add_one, 1);
  future.add_done_callback([&](const auto& done) { told.set_value(executor->submit(add_one, done.result()).get()); });
  auto value = told.get_future();
  EXPECT_EQ(soon(value).get(), 3);
}

TEST_P(CallbackTest, A6_may_resize_and_shut_down) {
  std::promise<void> told;
  const auto future = executor->submit(add_one, 1);
  future.add_done_callback([&](const auto&) {
    executor->resize(4);
    executor->resize(1);
    executor->shutdown();
    told.set_value();
  });
  auto done = told.get_future();
  soon(done).get();
  EXPECT_THROW(executor->submit(add_one, 1), yoke::ShutdownExecutorError);
}

TEST_P(CallbackTest, A6_may_do_so_while_other_threads_do_the_same) {
  std::atomic<int> called{0};
  constexpr int threads = 4, rounds = 20;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        const auto future = executor->submit(add_one, i);
        future.add_done_callback([&, t](const auto&) {
          executor->resize(1 + t % 2);
          executor->submit(add_one, 1).add_done_callback([&](const auto&) { ++called; });
        });
        executor->resize(1 + i % 2);
        executor->stats();
      }
    });
  for (auto& thread : all) thread.join();
  wait_until([&] { return called == threads * rounds; }, "all callbacks");
}

TEST_P(CallbackTest, A6_a_callback_may_drop_the_last_future) {
  std::weak_ptr<int> alive;
  {
    const auto token = std::make_shared<int>(1);
    alive = token;
    auto future = std::make_shared<yoke::Future<int>>(executor->submit(add_one, 1));
    future->add_done_callback([future, token](const auto&) mutable { future.reset(); });
  }
  wait_until([&] { return alive.expired(); }, "the callback to be destroyed after its call");
}

TEST_P(CallbackTest, A7_a_slow_callback_delays_no_submit_and_no_result) {
  std::promise<void> go_on, began;
  const auto released = go_on.get_future().share();
  const auto first = executor->submit(add_one, 1);
  first.add_done_callback([&began, released](const auto&) {
    began.set_value();
    released.wait();
  });
  began.get_future().wait();
  std::thread other([&] {
    yoke::Future<int> last;
    for (int i = 0; i < 30'000; ++i) last = executor->submit(add_one, i);
    EXPECT_EQ(soon(last).get(), 30'000);
  });
  other.join();  // hangs if the callback keeps others waiting
  go_on.set_value();
}

TEST_P(CallbackTest, A15_a_callback_may_wait_for_whatever_came_of_other_futures) {
  std::promise<int> told;
  executor->submit(add_one, 1).add_done_callback([&](const auto&) {
    int sum = executor->submit(add_one, 1).get();
    std::future<int> as_std = executor->submit(add_one, 2);
    std::future<void> nothing = executor->submit([] {});
    std::shared_future<int> shared = std::future<int>(executor->submit(add_one, 3)).share();
    std::future<int> failing = executor->submit(fail);
    for (const auto& status : {as_std.wait_for(hang_guard), nothing.wait_for(hang_guard), shared.wait_for(hang_guard),
                               failing.wait_for(hang_guard)})
      EXPECT_EQ(status, std::future_status::ready);
    EXPECT_THROW(failing.get(), std::runtime_error);
    sum += as_std.get() + shared.get();
    for (const int value : executor->map(add_one, std::vector<int>{4, 5})) sum += value;
    told.set_value(sum);
  });
  EXPECT_EQ(told.get_future().get(), 2 + 3 + 4 + 5 + 6);
}

/// Ends the test where the time that something takes would grow with its square: hours.
template <class F>
void expect_an_end(F f) {
  std::promise<void> done;
  std::thread thread([&] {
    f();
    done.set_value();
  });
  if (done.get_future().wait_for(2 * hang_guard) != std::future_status::ready) std::abort();
  thread.join();
}

TEST_P(CallbackTest, I19_so_many_callbacks_of_one_future) {
  const auto future = busy(entered, gate);
  std::atomic<int> called{0};
  constexpr int many = 300'000;
  expect_an_end([&] {
    for (int i = 0; i < many; ++i) {
      future.add_done_callback([&](const auto&) { ++called; });
      if (i % 100 == 0) static_cast<void>(yoke::wait(std::vector{future}, 0ms));
    }
    board.add(gate);
  });
  wait_until([&] { return called == many; }, "all callbacks");
}

TEST_P(CallbackTest, I19_so_many_priorities) {
  const auto running = all_busy(entered, gate);
  std::vector<yoke::Future<int>> futures;
  expect_an_end([&] {
    for (int i = 0; i < 150'000; ++i) futures.push_back(executor->submit({.priority = i + 1}, add_one, i));
    for (auto future = futures.rbegin(); future != futures.rend(); ++future) future->cancel();
    board.add(gate);
  });
}

TEST_P(CallbackTest, A7_a_callback_that_ends_its_thread_costs_no_other) {
  std::atomic<int> told{0};
  yoke::set_error_handler([&](const std::exception_ptr&) { ++told; });
  for (int i = 0; i < 3; ++i) {
    const auto future = executor->submit(add_one, i);
    future.add_done_callback([](const auto&) { ::pthread_cancel(::pthread_self()); });
    future.add_done_callback([](const auto&) { ::pthread_exit(nullptr); });
    future.add_done_callback([&](const auto&) { notes.add("called"); });
  }
  notes.wait(3);
  EXPECT_EQ(told, 3);
}

TEST_P(CallbackTest, A7_a_callback_that_throws_what_has_no_text) {
  struct Silent : std::exception {
    const char* what() const noexcept override { return nullptr; }
  };
  may_write_stderr();
  const auto future = executor->submit(add_one, 1);
  future.add_done_callback([](const auto&) { throw Silent(); });
  future.add_done_callback([&](const auto&) { notes.add("called"); });
  notes.wait(1);
  try {
    executor->submit([] { throw Silent(); }).get();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::exception& error) {
    EXPECT_EQ(std::string(error.what()).find("null"), std::string::npos);
  }
}

}  // namespace
