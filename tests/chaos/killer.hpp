// Killer: the thread that ends workers at random instants: with SIGKILL, with SIGSEGV, stopped first, one or all.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <random>

#include "tests/chaos/ledger.hpp"
#include "yoke/yoke.hpp"

namespace yoke_test::chaos {

class Killer {
 public:
  /// `pause`: between kills, on average.
  Killer(yoke::Executor pool, Ledger& ledger, std::chrono::microseconds pause, std::uint64_t seed)
      : pool_(std::move(pool)), ledger_(ledger), pause_(pause), random_(seed) {}
  void run(const std::atomic<bool>& stop);

 private:
  std::chrono::microseconds some_pause(std::chrono::microseconds mean);
  void strike(const yoke::WorkerInfo& victim);

  yoke::Executor pool_;
  Ledger& ledger_;
  std::chrono::microseconds pause_;
  std::mt19937_64 random_;
};

}  // namespace yoke_test::chaos
