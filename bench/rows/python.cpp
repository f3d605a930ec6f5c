// S17, S17b, S17c: against Python's process pools, loky and concurrent.futures, on S1, S3 and S11.
#include "bench/burst.hpp"
#include "bench/peers/python_pools.hpp"
#include "bench/row.hpp"
#include "bench/rows/kill.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

Row measure_throughput(const Effort& effort) {
  Row row{.id = "S17",
          .what = "S1 against Python's process pools",
          .unit = "M tasks/s",
          .better = Better::higher,
          .reach = {Reach::Of::ratio, 300}};
  python_figures(effort).add_to(row, "S1", 1e-6);
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    ProcessPoolExecutor executor(1);
    row.ours.samples.push_back(
        warm_burst_rate(effort.times(1'000'000), [&](int i) { return executor.submit(inc, i); }));
  }
  return row;
}

Row measure_round_trip(const Effort& effort) {
  Row row{.id = "S17b",
          .what = "S3 against Python's process pools",
          .unit = "us",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 0.01}};
  python_figures(effort).add_to(row, "S3", 1);
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    ProcessPoolExecutor executor(1);
    row.ours.samples.push_back(hot_microseconds(effort.times(200'000), [&](int i) { return executor.submit(inc, i); }));
  }
  return row;
}

Row measure_death(const Effort& effort) {
  Row row{.id = "S17c", .what = "S11 against Python's process pools", .unit = "ms", .better = Better::lower};
  python_figures(effort).add_to(row, "S11", 1);
  ProcessPoolExecutor executor = make_mortal_executor();
  for (int turn = 0; turn < effort.times(50); ++turn) row.ours.samples.push_back(milliseconds_to_error(executor));
  return row;
}

}  // namespace

std::vector<Measurement> python_rows() {
  return {{"S17", measure_throughput, false}, {"S17b", measure_round_trip, false}, {"S17c", measure_death, false}};
}

}  // namespace yoke::bench
