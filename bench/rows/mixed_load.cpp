// M-mixed*: one long task in a hundred short ones, in an order drawn once: how far from the ideal schedule.
#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "bench/ideal.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/row.hpp"
#include "bench/rows/mixed_load.hpp"
#include "bench/work.hpp"

namespace yoke::bench {

std::vector<int> mixed_values(int count, int of_short, int of_long) {
  std::vector<int> values(static_cast<std::size_t>(count), of_short);
  std::fill_n(values.begin(), count / 100, of_long);
  std::shuffle(values.begin(), values.end(), std::mt19937(1));
  return values;
}

namespace {

template <int function(int)>
Row measure(const char* id, const std::string& what, int workers, const std::vector<int>& values,
            const Effort& effort) {
  Row row{.id = id,
          .what = what,
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 1.05},
          .peers = {{"ideal schedule", {}}, {"yoke, map", {}}, {"mutex+condvar", {}}},
          .judged_by = "ideal schedule"};
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    {
      ProcessPoolExecutor executor = make_ready_executor(workers);
      const auto submit = [&](int value) { return executor.submit(function, value); };
      row.ours.samples.push_back(pool_seconds(submit, values) * 1e3);
    }
    row.peers[0].samples.push_back(ideal_seconds(workers, function, values) * 1e3);
    {
      ProcessPoolExecutor executor = make_ready_executor(workers);
      const Stopwatch watch;
      executor.map(function, values).get();
      row.peers[1].samples.push_back(watch.seconds() * 1e3);
    }
    const auto pool = make_condvar_pool(workers);
    row.peers[2].samples.push_back(pool_seconds([&](int v) { return pool->submit(function, v); }, values) * 1e3);
  }
  return row;
}

Row measure_computing(const char* id, double of_short, double of_long, int count, const Effort& effort) {
  const int workers = cpu_count();
  return measure<compute>(
      id, fmt::format("{} tasks of {:g} us, 1 % of {:g} us, {} workers", count, of_short, of_long, workers), workers,
      mixed_values(count, rounds_of(of_short), rounds_of(of_long)), effort);
}

}  // namespace

std::vector<Measurement> mixed_load_rows() {
  return {{"M-mixed",
           [](const Effort& effort) { return measure_computing("M-mixed", 10, 1000, effort.times(20'000), effort); }},
          {"M-mixed-1",
           [](const Effort& effort) { return measure_computing("M-mixed-1", 1, 1000, effort.times(20'000), effort); }},
          {"M-mixed-z", [](const Effort& effort) {
             const int count = effort.times(2000);
             return measure<sleep_microseconds>("M-mixed-z",
                                                fmt::format("{} tasks that sleep 0.5 ms, 1 % 10 ms, 8 workers", count),
                                                8, mixed_values(count, 500, 10'000), effort);
           }}};
}

}  // namespace yoke::bench
