// S1, S2, S16: no-op tasks a second, many at once: submit them all, then get them all.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/burst.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

/// The pools serve for all turns. Their first bursts are told in the note alone: they pay for the fresh memory of a
/// million tasks.
Row measure(const char* id, int workers, const Effort& effort) {
  const int count = effort.times(1'000'000);
  Row row{.id = id,
          .what = fmt::format("no-op submit then get, {} tasks, {} worker{}", count, workers, workers > 1 ? "s" : ""),
          .unit = "M tasks/s",
          .better = Better::higher,
          .reach = {Reach::Of::ratio, 2.5}};
  auto kinds = thread_pool_kinds();
  std::erase_if(kinds, [&](const ThreadPoolKind& kind) { return workers > 1 && !kind.counts_threads; });
  ProcessPoolExecutor executor = make_ready_executor(workers);
  std::vector<std::unique_ptr<ThreadPool>> pools;
  for (const auto& kind : kinds) {
    row.peers.push_back({kind.name, {}});
    pools.push_back(kind.make(workers));
  }
  const auto take_turn = [&](Row& into, const auto& rate) {
    into.ours.samples.push_back(rate(count, [&](int i) { return executor.submit(inc, i); }));
    for (std::size_t k = 0; k < kinds.size(); ++k)
      into.peers[k].samples.push_back(
          rate(std::min(count, kinds[k].most_tasks), [&](int i) { return pools[k]->submit(inc, i); }));
  };
  Row fresh = row;
  take_turn(fresh, [](int tasks, const auto& submit) { return burst_rate(tasks, submit); });
  for (int turn = 0; turn < effort.repetitions; ++turn)
    take_turn(row, [](int tasks, const auto& submit) { return warm_burst_rate(tasks, submit); });
  if (const Figure* peer = fresh.peer())
    row.note = fmt::format("the first burst, in fresh memory: {:.2f}, {} {:.2f}", fresh.ours.samples[0], peer->who,
                           peer->samples[0]);
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
  ProcessPoolExecutor crowd = make_ready_executor(64);
  ProcessPoolExecutor pair = make_ready_executor(2);
  const auto rate_of = [&](ProcessPoolExecutor& executor) {
    return warm_burst_rate(count, [&](int i) { return executor.submit(inc, i); });
  };
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    row.ours.samples.push_back(rate_of(crowd));
    row.peers[0].samples.push_back(rate_of(pair));
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
