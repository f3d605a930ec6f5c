// S6, S7: 100 MB of doubles as one argument, by value and as a view, against copying them once.
#include <cstring>

#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

constexpr std::size_t argument_bytes = 100'000'000;

template <class Function>
Row measure(Row row, Function function, const Effort& effort) {
  const std::vector<double> values(argument_bytes / sizeof(double), 1.5);
  std::vector<double> target(values.size());
  ProcessPoolExecutor executor(1);
  const auto once = [&] { return executor.submit(function, values).get(); };
  once();
  row.unit = "ms";
  row.better = Better::lower;
  row.peers = {{"memcpy", {}}};
  for (int turn = 0; turn < std::max(effort.repetitions, effort.times(20)); ++turn) {
    const Stopwatch watch;
    once();
    row.ours.samples.push_back(watch.seconds() * 1e3);
    const Stopwatch copy_watch;
    std::memcpy(target.data(), values.data(), values.size() * sizeof(double));
    asm volatile("" : : "r"(target.data()) : "memory");
    row.peers[0].samples.push_back(copy_watch.seconds() * 1e3);
  }
  return row;
}

Row measure_by_value(const Effort& effort) {
  return measure({.id = "S6", .what = "100 MB std::vector<double> by value", .reach = {Reach::Of::ratio, 6}},
                 ends_of_vector, effort);
}
Row measure_view(const Effort& effort) {
  return measure({.id = "S7", .what = "100 MB to a std::span<const double>", .reach = {Reach::Of::ratio, 2.5}},
                 ends_of_span, effort);
}

}  // namespace

std::vector<Measurement> large_argument_rows() { return {{"S6", measure_by_value}, {"S7", measure_view}}; }

}  // namespace yoke::bench
