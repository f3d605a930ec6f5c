// Bursts and round trips of no-op tasks. `submit(i)` returns a future of inc(i), of any pool; a wrong result throws.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "bench/measure.hpp"

namespace yoke::bench {

inline void expect_result(int result, int argument) {
  if (result != argument + 1) throw std::logic_error("a task's result is wrong");
}

/// Submits them all, then gets them all.
template <class Submit>
void burst(int count, const Submit& submit) {
  std::vector<decltype(submit(0))> futures;
  futures.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) futures.push_back(submit(i));
  for (int i = 0; i < count; ++i) expect_result(futures[static_cast<std::size_t>(i)].get(), i);
}

/// Million tasks a second.
template <class Submit>
double burst_rate(int count, const Submit& submit) {
  const Stopwatch watch;
  burst(count, submit);
  return count / watch.seconds() / 1e6;
}
/// The same, after another of its size: workers and threads are up, and the tasks' memory is there.
template <class Submit>
double warm_burst_rate(int count, const Submit& submit) {
  burst(count, submit);
  return burst_rate(count, submit);
}

/// The mean of up to `count` round trips back to back; of fewer where they take longer than a second.
template <class Submit>
double hot_microseconds(int count, const Submit& submit) {
  const auto trips = [&](int n) {
    for (int i = 0; i < n; ++i) expect_result(submit(i).get(), i);
  };
  const int some = std::min(count, 500);
  trips(some);
  const Stopwatch watch;
  int done = 0;
  do {
    trips(some);
    done += some;
  } while (done < count && watch.seconds() < 1);
  return watch.seconds() * 1e6 / done;
}

}  // namespace yoke::bench
