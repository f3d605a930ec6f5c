// A worker killed at any moment loses at most the task that it ran: random kills under load, a bounded number of them.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

constexpr int kills = 60;

std::string echo(int value, const std::string& padding) { return std::to_string(value) + padding; }
int run_once(const Board& board, unsigned word, int microseconds) {
  board.add(word);
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  return static_cast<int>(word);
}

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

TEST_F(KillUnderLoad, each_future_resolves_once_with_its_value_or_a_death) {
  may_write_stderr();
  std::atomic<bool> stop{false};
  std::atomic<int> right{0}, lost{0}, callbacks{0};
  std::vector<std::thread> submitters;
  std::atomic<int> submitted{0};
  for (int t = 0; t < 4; ++t)
    submitters.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<int, yoke::Future<std::string>>> futures;
      const auto settle = [&] {
        for (auto& [value, future] : futures) {
          try {
            const auto text = soon(future).get();
            ASSERT_TRUE(text.starts_with(std::to_string(value) + "x")) << text.substr(0, 50);
            ++right;
          } catch (const yoke::TerminatedWorkerError&) {
            ++lost;
          }
        }
        futures.clear();
      };
      while (!stop) {
        for (int i = 0; i < 200; ++i) {
          const int value = submitted++;
          const std::size_t length = random() % 20 == 0 ? 100'000 : random() % 300;
          auto future = pool->submit(echo, value, "x" + std::string(length, 'y'));
          future.add_done_callback([&](const auto&) { ++callbacks; });
          futures.emplace_back(value, std::move(future));
        }
        settle();
      }
      settle();
    });
  kill_randomly(stop);
  stop = true;
  for (auto& submitter : submitters) submitter.join();
  EXPECT_EQ(right + lost, submitted);
  EXPECT_LE(lost, kills);
  EXPECT_GT(right, lost);
  wait_until([&] { return callbacks == submitted; }, "each callback");
  EXPECT_GT(pool->stats().deaths, static_cast<unsigned>(kills) / 2);
  RecordProperty("tasks", submitted);
  RecordProperty("lost", lost);
}

TEST_F(KillUnderLoad, no_task_runs_twice_and_none_is_forgotten) {
  may_write_stderr();
  constexpr unsigned tasks = 3000;
  std::atomic<bool> stop{false};
  std::thread killer([&] { kill_randomly(stop); });
  std::vector<yoke::Future<int>> futures;
  for (unsigned i = 0; i < tasks; ++i) futures.push_back(pool->submit(run_once, board, i, i % 50 == 0 ? 1000 : 0));
  int lost = 0;
  for (unsigned i = 0; i < tasks; ++i) {
    try {
      ASSERT_EQ(soon(futures[i]).get(), static_cast<int>(i));
      ASSERT_EQ(board.get(i), 1U) << i;
    } catch (const yoke::TerminatedWorkerError&) {
      ++lost;
      ASSERT_LE(board.get(i), 1U) << i;
    }
  }
  stop = true;
  killer.join();
  EXPECT_LE(lost, kills);
}

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
