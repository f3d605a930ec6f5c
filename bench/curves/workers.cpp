// G-workers: throughput and round trip against the number of workers; past the processors, more are only in the way.
#include <string>

#include "bench/burst.hpp"
#include "bench/curve.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

constexpr const char* throughput = "M tasks/s";
constexpr const char* round_trip = "us a round trip";

Curve measure(const Effort& effort) {
  Curve curve{.id = "G-workers", .what = "no-op tasks against the number of workers or threads", .along = "workers"};
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    for (const int workers : {1, 2, 4, 8, 16, 32, 64}) {
      const auto add = [&](const std::string& who, int count, int trips, const auto& submit) {
        curve.add(who, throughput, workers, warm_burst_rate(count, submit));
        curve.add(who, round_trip, workers, hot_microseconds(trips, submit));
      };
      {
        ProcessPoolExecutor executor = make_ready_executor(workers);
        add("yoke", effort.times(100'000), effort.times(10'000), [&](int i) { return executor.submit(inc, i); });
      }
      for (const auto& kind : thread_pool_kinds()) {
        if (!kind.counts_threads) continue;
        const auto pool = kind.make(workers);
        add(kind.name, std::min(effort.times(100'000), kind.most_tasks / 4), effort.times(1000),
            [&](int i) { return pool->submit(inc, i); });
      }
    }
  }
  return curve;
}

}  // namespace

std::vector<MeasurementOf<Curve>> worker_curves() { return {{"G-workers", measure}}; }

}  // namespace yoke::bench
