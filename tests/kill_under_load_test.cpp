// Load from many threads; and a bounded number of kills under load, which retries make good. Beyond all bounds: chaos/.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

constexpr int kills = 60;

std::string echo(int value, const std::string& padding) { return std::to_string(value) + padding; }

class KillUnderLoad : public PoolTest {
 protected:
  void SetUp() override {
    PoolTest::SetUp();
    auto lasting = options();
    lasting.restart_budget = {.deaths = 1'000'000};
    restart(lasting);
    prime(*pool, size, board);
  }

  /// Kills a random worker, again and again, until told to stop or it was enough.
  void kill_randomly(const std::atomic<bool>& stop) {
    std::mt19937 random(static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed()) + 1);
    const int signals[] = {SIGKILL, SIGKILL, SIGSEGV, SIGTERM, SIGABRT};
    for (int i = 0; i < kills && !stop; ++i) {
      const auto deaths = pool->stats().deaths;
      auto workers = pool->stats().workers;
      // one that dies while it starts is another story: it would do so again
      std::erase_if(workers, [](const auto& worker) { return worker.state == yoke::WorkerState::starting; });
      if (workers.empty()) continue;
      const int victim = workers[random() % workers.size()].pid;
      ASSERT_GT(victim, 1);
      ::kill(victim, signals[random() % std::size(signals)]);
      // the next one once this one was noticed, and after a random number of tasks
      while (!stop && pool->stats().deaths == deaths) std::this_thread::yield();
      const auto more = pool->stats().done + random() % 300;
      while (!stop && pool->stats().done < more) std::this_thread::yield();
    }
  }
};

TEST_F(KillUnderLoad, with_retries_nothing_is_lost) {
  may_write_stderr();
  std::atomic<bool> stop{false};
  std::thread killer([&] { kill_randomly(stop); });
  std::vector<yoke::Future<std::string>> futures;
  for (int i = 0; i < 3000; ++i) futures.push_back(pool->submit({.retries = kills}, echo, i, "x"));
  for (std::size_t i = 0; i < futures.size(); ++i) ASSERT_EQ(soon(futures[i]).get(), std::to_string(i) + "x");
  stop = true;
  killer.join();
}

TEST_F(KillUnderLoad, A12_ten_threads_submit_map_cancel_and_resize) {
  std::vector<std::thread> threads;
  std::atomic<int> cancelled{0}, values{0};
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        auto one = pool->submit(add_one, i);
        auto two = pool->submit(add_one, -i);
        if (two.cancel()) {
          ++cancelled;
        } else {
          ASSERT_EQ(soon(two).get(), 1 - i);
          ++values;
        }
        ASSERT_EQ(pool->map(add_one, std::vector<int>{i, t}).get(), (std::vector<int>{i + 1, t + 1}));
        if (t == 0) pool->resize(1 + i % size);
        ASSERT_EQ(soon(one).get(), i + 1);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(cancelled + values, 200);
  EXPECT_EQ(pool->stats().cancelled, static_cast<unsigned>(cancelled));
}

}  // namespace
