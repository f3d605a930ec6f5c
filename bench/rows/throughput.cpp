// S1, S2, S16: no-op tasks a second, many at once: submit them all, then get them all.
#include <fmt/format.h>

#include <algorithm>

#include "bench/burst.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

double measure_yoke(int workers, int count) {
  ProcessPoolExecutor executor = make_ready_executor(workers);
  return million_tasks_per_second(count, [&](int i) { return executor.submit(inc, i); });
}

Row measure(const char* id, int workers, const Effort& effort) {
  const int count = effort.times(1'000'000);
  Row row{.id = id,
          .what = fmt::format("no-op submit then get, {} tasks, {} worker{}", count, workers, workers > 1 ? "s" : ""),
          .unit = "M tasks/s",
          .better = Better::higher,
          .reach = {Reach::Of::ratio, 2.5}};
  const auto kinds = thread_pool_kinds();
  for (const auto& kind : kinds) row.peers.push_back({kind.name, {}});
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    row.ours.samples.push_back(measure_yoke(workers, count));
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      if (workers > 1 && !kinds[k].counts_threads) continue;
      const auto pool = kinds[k].make(workers);
      row.peers[k].samples.push_back(million_tasks_per_second(std::min(count, kinds[k].most_tasks),
                                                              [&](int i) { return pool->submit(inc, i); }));
    }
  }
  return row;
}

Row measure_crowd(const Effort& effort) {
  const int count = effort.times(1'000'000);
  Row row{.id = "S16",
          .what = fmt::format("no-op submit then get, {} tasks, 64 workers", count),
          .unit = "M tasks/s",
          .better = Better::higher,
          .reach = {Reach::Of::ratio, 0.8},
          .peers = {{"yoke, 2 workers", {}}}};
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    row.ours.samples.push_back(measure_yoke(64, count));
    row.peers[0].samples.push_back(measure_yoke(2, count));
  }
  return row;
}

}  // namespace

std::vector<Measurement> throughput_rows() {
  return {{"S1", [](const Effort& effort) { return measure("S1", 1, effort); }},
          {"S2", [](const Effort& effort) { return measure("S2", 2, effort); }},
          {"S16", measure_crowd}};
}

}  // namespace yoke::bench
