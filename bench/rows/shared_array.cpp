// S8: a SharedArray of 1 GB as an argument, of which the worker reads the ends, against a no-op task.
#include "bench/burst.hpp"
#include "bench/proc.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

constexpr std::size_t payload = std::size_t{1} << 30;

Row measure(const Effort& effort) {
  if (available_bytes() < 2.0 * payload) throw NotToBeHad("needs 2 GB of memory");
  Row row{.id = "S8",
          .what = "SharedArray of 1 GB as an argument, round trip",
          .unit = "us",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 1.5},
          .peers = {{"no-op task", {}}}};
  const SharedArray<double> array(payload / sizeof(double));
  ProcessPoolExecutor executor(1);
  const int count = effort.times(20'000);
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    row.ours.samples.push_back(hot_microseconds(count, [&](int i) { return executor.submit(inc_beside, i, array); }));
    row.peers[0].samples.push_back(hot_microseconds(count, [&](int i) { return executor.submit(inc, i); }));
  }
  return row;
}

}  // namespace

std::vector<Measurement> shared_array_rows() { return {{"S8", measure}}; }

}  // namespace yoke::bench
