// S5: map over ten million ints, against a loop that calls the function through a pointer.
#include <fmt/format.h>

#include <numeric>
#include <stdexcept>

#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

double million_items_per_second(const std::vector<int>& items, const auto& sum_of_results) {
  const Stopwatch watch;
  const std::int64_t sum = sum_of_results();
  const double seconds = watch.seconds();
  const auto n = static_cast<std::int64_t>(items.size());
  if (sum != n * (n + 1) / 2) throw std::logic_error("the results of map are wrong");
  return static_cast<double>(items.size()) / seconds / 1e6;
}

Row measure(const Effort& effort) {
  std::vector<int> items(static_cast<std::size_t>(effort.times(10'000'000)));
  std::iota(items.begin(), items.end(), 0);
  Row row{.id = "S5",
          .what = fmt::format("map over {} ints, automatic chunks", items.size()),
          .unit = "M items/s",
          .better = Better::higher,
          .reach = {Reach::Of::figure, 20},
          .peers = {{"loop through a pointer", {}}}};
  int (*volatile function)(int) = inc;
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    {
      ProcessPoolExecutor executor;
      executor.submit(inc, 1).get();
      row.ours.samples.push_back(million_items_per_second(items, [&] {
        std::int64_t sum = 0;
        for (const int result : executor.map(inc, items)) sum += result;
        return sum;
      }));
    }
    row.peers[0].samples.push_back(million_items_per_second(items, [&] {
      std::int64_t sum = 0;
      for (const int item : items) sum += function(item);
      return sum;
    }));
  }
  return row;
}

}  // namespace

std::vector<Measurement> map_rows() { return {{"S5", measure}}; }

}  // namespace yoke::bench
