// The ideal schedule, measured: as many threads as there are workers, each takes the next value from a counter, and
// nothing is handed over. What a pool takes longer is its overhead, the time of its own processes and threads included.
#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "bench/measure.hpp"

namespace yoke::bench {

inline double ideal_seconds(int workers, int (*function)(int), const std::vector<int>& values) {
  std::atomic<std::size_t> next{0};
  std::atomic<int> sink{0};
  const auto run = [&] {
    int sum = 0;
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < values.size();) sum ^= function(values[i]);
    sink ^= sum;
  };
  const Stopwatch watch;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < workers; ++i) threads.emplace_back(run);
  }
  return watch.seconds();
}

/// The same of a pool: submits a task for each value, then gets them all.
template <class Submit>
double pool_seconds(const Submit& submit, const std::vector<int>& values) {
  const Stopwatch watch;
  std::vector<decltype(submit(0))> futures;
  futures.reserve(values.size());
  for (const int value : values) futures.push_back(submit(value));
  for (auto& future : futures) future.get();
  return watch.seconds();
}

}  // namespace yoke::bench
