#include "tests/support/pool_fixture.hpp"

#include <signal.h>
#include <unistd.h>

#include <random>
#include <vector>

namespace yoke_test {
namespace {

constexpr unsigned primed_word = Board::words - 1;
constexpr std::chrono::seconds longest_shutdown{10};

void meet_the_others(const Board& board, std::uint32_t all) {
  board.add(primed_word);
  board.wait_for(primed_word, all);
}

}  // namespace

void HouseTest::SetUp() {
  before_ = look_around();
  board = put_up_board();
  stderr_.emplace();
}

void HouseTest::TearDown() {
  const std::string written = stderr_->text();
  const bool announced = expected_stderr_ && written.find(*expected_stderr_) != std::string::npos;
  EXPECT_TRUE(any_stderr_ || announced || (written.empty() && !expected_stderr_))
      << "expected on stderr: " << expected_stderr_.value_or("nothing") << "\nfound: " << written;
  stderr_.reset();
  take_down(board);
  EXPECT_EQ(wait_until_clean(before_), "");
}

void start_late_now_and_then() {
  std::random_device random;
  if (random() % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 100));
}

yoke::ExecutorOptions PoolTest::options() const {
  return {.max_workers = size, .initializer = yoke::initializer(start_late_now_and_then)};
}

void PoolTest::SetUp() {
  HouseTest::SetUp();
  pool = std::make_unique<yoke::ProcessPoolExecutor>(options());
  prime(*pool, size, board);
}

void PoolTest::TearDown() {
  if (pool) shut_down_in_time(*pool);
  pool.reset();
  HouseTest::TearDown();
}

void PoolTest::restart(const yoke::ExecutorOptions& options) {
  if (pool) shut_down_in_time(*pool);
  pool = std::make_unique<yoke::ProcessPoolExecutor>(options);
}

void prime(yoke::Executor& executor, int workers, const Board& board) {
  const std::uint32_t all = board.get(primed_word) + static_cast<std::uint32_t>(workers);
  std::vector<yoke::Future<void>> futures;
  for (int i = 0; i < workers; ++i) futures.push_back(executor.submit(meet_the_others, board, all));
  for (auto& future : futures) soon(future).get();
}

void shut_down_in_time(yoke::Executor& executor, const yoke::ShutdownOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  executor.shutdown(options);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, longest_shutdown) << "shutdown hangs, or nearly";
}

void wait_until(const std::function<bool()>& condition, const char* what) {
  const auto give_up = std::chrono::steady_clock::now() + hang_guard;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up)
      throw std::runtime_error(std::string("waited too long for ") + what);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

int add_one(int value) { return value + 1; }

int pass_gate(const Board& board, unsigned entered, unsigned gate) {
  board.add(entered);
  board.wait_for(gate);
  return ::getpid();
}

int own_pid() { return ::getpid(); }

void kill_self(int signal) {
  ::kill(::getpid(), signal);
  for (;;) ::pause();
}

}  // namespace yoke_test
