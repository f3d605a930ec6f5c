// The time from nothing to a cold pool's first result: S9, and the measure of S12.
#pragma once

#include "bench/measure.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {

inline double milliseconds_to_first_result() {
  const Stopwatch watch;
  ProcessPoolExecutor executor(1);
  executor.submit(inc, 1).get();
  return watch.seconds() * 1e3;
}

}  // namespace yoke::bench
