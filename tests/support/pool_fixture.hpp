// The house rules: what every test of a pool starts from and must leave behind.
//
// HouseTest checks at its end that nothing is left: no process, zombie, descriptor, thread, shared memory or name, and
// no word on stderr unless expect_stderr announced it. PoolTest starts each test from a primed pool of 5 workers, one
// in five of which starts late, and asserts that the pool shuts down in a bounded time.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/board.hpp"
#include "tests/support/house.hpp"
#include "tests/support/sanitized.hpp"
#include "yoke/yoke.hpp"

namespace yoke_test {

using namespace std::chrono_literals;

/// Ends what would hang. Generous: nothing is measured by it.
inline constexpr std::chrono::seconds hang_guard{60};

class HouseTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  /// This test makes the library or a worker write this to stderr.
  void expect_stderr(const std::string& part) { expected_stderr_ = part; }
  void may_write_stderr() { any_stderr_ = true; }
  std::string stderr_text() const { return stderr_->text(); }

  Board board;

 private:
  Belongings before_;
  std::optional<StderrCapture> stderr_;
  std::optional<std::string> expected_stderr_;
  bool any_stderr_ = false;
};

class PoolTest : public HouseTest {
 protected:
  static constexpr int size = 5;

  void SetUp() override;
  void TearDown() override;
  /// The options of the pool that each test begins with.
  virtual yoke::ExecutorOptions options() const;
  /// A test that needs another one: the old one is shut down.
  void restart(const yoke::ExecutorOptions& options);

  std::unique_ptr<yoke::ProcessPoolExecutor> pool;
};

/// Starts every worker: returns when `workers` tasks of the executor run at once.
void prime(yoke::Executor& executor, int workers, const Board& board);
/// In one of five workers, sleeps for 0 to 100 ms.
void start_late_now_and_then();

/// Shuts it down, and asserts that this takes less than 10 s.
void shut_down_in_time(yoke::Executor& executor, const yoke::ShutdownOptions& options = {});

/// The future, once it is done. Throws std::runtime_error where a test would hang.
template <class F>
F&& soon(F&& future) {
  if (future.wait_for(hang_guard) != std::future_status::ready)
    throw std::runtime_error("a future was not done in a minute");
  return std::forward<F>(future);
}

/// Waits for a condition that no event announces to this process. Throws std::runtime_error where a test would hang.
void wait_until(const std::function<bool()>& condition, const char* what);

/// What the call throws, which is to be an E. Adds a failure and returns nothing if it is not.
template <class E, class F>
std::optional<E> thrown_by(F&& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const E& error) {
    return error;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "something else was thrown: " << typeid(error).name() << ": " << error.what();
  }
  return std::nullopt;
}

/// The death that a future tells of. Fails, and returns an empty one, if it tells of none.
template <class T>
yoke::WorkerDeath death_of(const yoke::Future<T>& future) {
  const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { soon(future).result(); });
  return error ? error->death() : yoke::WorkerDeath();
}

// Tasks that many tests use.
int add_one(int value);
/// Adds 1 to word `entered`, waits until word `gate` is not 0, returns the worker's pid.
int pass_gate(const Board& board, unsigned entered, unsigned gate);
int own_pid();
[[noreturn]] void kill_self(int signal);

}  // namespace yoke_test
