// A backend by a third party: derived from yoke::Pool alone, with the public headers alone. It gets the typed face.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "yoke/yoke.hpp"

namespace {

using namespace std::chrono_literals;

/// What a far place would do with the bytes that it was sent: here a thread does it.
class FarCall final : public yoke::Call {
 public:
  using Call::Call;
  void publish() override {}
};

class OutOfStamps final : public yoke::Failure {
 public:
  std::exception_ptr make(const std::string& task_name) const override {
    return std::make_exception_ptr(yoke::BrokenProcessPool("no stamps left to send '" + task_name + "'"));
  }
};

class PostalPool final : public yoke::Pool {
 public:
  explicit PostalPool(int stamps) : stamps_(stamps), postman_([this] { run(); }) {}
  ~PostalPool() override {
    shutdown({});
    postman_.join();
  }

  void submit(yoke::TaskPtr task) override {
    const std::lock_guard lock(mutex_);
    if (!accepting_) throw yoke::ShutdownExecutorError("the post office is closed");
    waiting_.push_back(std::move(task));
    changed_.notify_all();
  }
  bool cancel(yoke::Task& task, yoke::CancelMode) override {
    const std::lock_guard lock(mutex_);
    return running_ != &task && task.resolve_cancelled();
  }
  bool running(const yoke::Task& task) const override {
    const std::lock_guard lock(mutex_);
    return running_ == &task;
  }
  bool accepting() const override {
    const std::lock_guard lock(mutex_);
    return accepting_;
  }
  void shutdown(const yoke::ShutdownOptions& options) override {
    std::unique_lock lock(mutex_);
    accepting_ = false;
    changed_.notify_all();
    if (options.wait) changed_.wait(lock, [this] { return ended_; });
  }
  void resize(int) override {}
  int max_workers() const override { return 1; }
  yoke::Stats stats() const override { return {}; }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return !waiting_.empty() || !accepting_; });
      if (waiting_.empty()) break;
      const yoke::TaskPtr task = waiting_.front();
      waiting_.pop_front();
      running_ = task.get();
      lock.unlock();
      yoke::Outcome outcome;
      if (!task->done()) outcome = deliver(*task);
      lock.lock();
      running_ = nullptr;
      lock.unlock();
      task->resolve(std::move(outcome));
      lock.lock();
    }
    ended_ = true;
    changed_.notify_all();
  }
  yoke::Outcome deliver(const yoke::Task& task) {
    yoke::Outcome outcome;
    if (stamps_-- == 0) {
      outcome.kind = yoke::Outcome::Kind::failure;
      outcome.failure = std::make_shared<OutOfStamps>();
      return outcome;
    }
    const yoke::Bytes letter(task.arguments().view());  // a copy: the place is far
    yoke::PackBuffer answer;
    std::atomic<std::uint8_t> phase{0};
    try {
      FarCall call(letter.view(), task.target(), answer, phase);
      task.callable().trampoline(call);
    } catch (...) {
      answer.truncate(0);
      yoke::detail::pack_current_exception(answer, static_cast<yoke::Phase>(phase.load()));
      outcome.kind = yoke::Outcome::Kind::exception;
    }
    outcome.bytes = answer.take();
    return outcome;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<yoke::TaskPtr> waiting_;
  const yoke::Task* running_ = nullptr;
  int stamps_;
  bool accepting_ = true;
  bool ended_ = false;
  std::thread postman_;
};

int add_one(int value) { return value + 1; }
std::string join(const std::vector<std::string>& parts) {
  return std::accumulate(parts.begin(), parts.end(), std::string());
}
[[noreturn]] void fail() { throw std::out_of_range("far away"); }

TEST(ThirdPartyPool, has_the_typed_face) {
  yoke::Executor executor(std::make_shared<PostalPool>(1000));
  EXPECT_EQ(executor.submit(add_one, 41).get(), 42);
  EXPECT_EQ(executor.submit(join, std::vector<std::string>{"a", "b"}).get(), "ab");
  EXPECT_THROW(executor.submit(fail).get(), std::out_of_range);
  std::vector<int> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(executor.map(add_one, numbers).get(), expected);
}

TEST(ThirdPartyPool, its_failures_reach_the_future) {
  yoke::Executor executor(std::make_shared<PostalPool>(1));
  executor.submit(add_one, 1).get();
  try {
    executor.submit(add_one, 1).get();
    ADD_FAILURE();
  } catch (const yoke::BrokenProcessPool& error) {
    EXPECT_NE(std::string(error.what()).find("add_one"), std::string::npos) << error.what();
  }
}

TEST(ThirdPartyPool, futures_wait_time_out_and_are_cancelled) {
  std::promise<void> go_on;
  static std::shared_future<void> released;
  released = go_on.get_future().share();
  yoke::Executor executor(std::make_shared<PostalPool>(1000));
  const auto first = executor.submit([](int) { released.wait(); }, 0);
  const auto second = executor.submit(add_one, 1);
  EXPECT_THROW(second.result(1ms), yoke::TimeoutError);
  EXPECT_EQ(second.state(), yoke::FutureState::pending);
  EXPECT_TRUE(second.cancel());
  std::promise<void> called;
  first.add_done_callback([&](const auto&) { called.set_value(); });
  EXPECT_EQ(yoke::wait(std::vector{first}, 1ms).not_done.size(), 1U);
  go_on.set_value();
  called.get_future().wait();
  EXPECT_TRUE(first.done());
  executor.shutdown();
  EXPECT_THROW(executor.submit(add_one, 1), yoke::ShutdownExecutorError);
}

}  // namespace
