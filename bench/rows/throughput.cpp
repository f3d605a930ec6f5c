// S1, S2, S16: no-op tasks a second, many at once: submit them all, then get them all.
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "bench/peers/thread_pool.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

/// Millions of tasks a second. `submit` returns a future of inc(i).
template <class Submit>
double million_tasks_per_second(int count, const Submit& submit) {
  const auto burst = [&](int tasks) {
    std::vector<decltype(submit(0))> futures;
    futures.reserve(static_cast<std::size_t>(tasks));
    for (int i = 0; i < tasks; ++i) futures.push_back(submit(i));
    for (int i = 0; i < tasks; ++i)
      if (futures[static_cast<std::size_t>(i)].get() != i + 1) throw std::logic_error("a task's result is wrong");
  };
  burst(2000);  // workers and threads are up, and warm
  const Stopwatch watch;
  burst(count);
  return count / watch.seconds() / 1e6;
}

double measure_yoke(int workers, int count) {
  ProcessPoolExecutor executor(ExecutorOptions{.max_workers = workers, .spawn_eagerly = true});
  const auto is_idle = [](const WorkerInfo& worker) { return worker.state == WorkerState::idle; };
  while (std::ranges::count_if(executor.stats().workers, is_idle) < workers)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
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
      const auto pool = kinds[k].make(workers);
      row.peers[k].samples.push_back(million_tasks_per_second(count, [&](int i) { return pool->submit(inc, i); }));
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
