// S11, S11b, S12, S12b: from a worker's SIGKILL to the error of its task, and to its replacement's first result.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "bench/row.hpp"
#include "bench/rows/first_result.hpp"
#include "bench/rows/kill.hpp"
#include "bench/work.hpp"

namespace yoke::bench {

ProcessPoolExecutor make_mortal_executor(int spare_workers) {
  return ProcessPoolExecutor(
      ExecutorOptions{.max_workers = 1, .restart_budget = {.deaths = 1'000'000}, .spare_workers = spare_workers});
}

double milliseconds_to_error(ProcessPoolExecutor& executor, int megabytes, Stopwatch* since) {
  const int pid = executor.submit(own_pid).get();
  if (megabytes > 0) executor.submit(hold_memory, megabytes).get();
  auto victim = executor.submit(spin_for_ever);
  while (!victim.running()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  const Stopwatch watch;
  ::kill(pid, SIGKILL);
  try {
    victim.get();
  } catch (const TerminatedWorkerError& error) {
    const double milliseconds = watch.seconds() * 1e3;
    if (error.death().signal != SIGKILL) throw std::logic_error("the death is not told as SIGKILL");
    if (since) *since = watch;
    return milliseconds;
  }
  throw std::logic_error("a task outlived its worker");
}

namespace {

Row measure_error(const Effort& effort) {
  Row row{.id = "S11",
          .what = "SIGKILL of a busy worker to its future's error",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::figure, 0.5}};
  auto executor = make_mortal_executor();
  const int kills = effort.times(200);
  for (int i = 0; i < kills; ++i) row.ours.samples.push_back(milliseconds_to_error(executor));
  // The first error in a process reads its debug information, to name the task.
  row.note = fmt::format("99th percentile of {} kills: {:.3g} ms, reach 5; the first one: {:.3g} ms", kills,
                         quantile(row.ours.samples, 0.99), row.ours.samples.front());
  return row;
}

Row measure_large_worker(const Effort& effort) {
  Row row{.id = "S11b",
          .what = "the same with 1 GB resident in the worker",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::figure, 0.5}};
  auto executor = make_mortal_executor();
  for (int i = 0; i < std::max(effort.repetitions, effort.times(20)); ++i)
    row.ours.samples.push_back(milliseconds_to_error(executor, 1024));
  return row;
}

Row measure_recovery(const Effort& effort) {
  Row row{.id = "S12",
          .what = "SIGKILL to the replacement's first result",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 1.5},
          .peers = {{"S9", {}}}};
  auto executor = make_mortal_executor();
  for (int i = 0; i < std::max(effort.repetitions, effort.times(50)); ++i) {
    Stopwatch since;
    milliseconds_to_error(executor, 0, &since);
    executor.submit(inc, 1).get();
    row.ours.samples.push_back(since.seconds() * 1e3);
    row.peers[0].samples.push_back(milliseconds_to_first_result());
  }
  return row;
}

void wait_for_spare(const ProcessPoolExecutor& executor) {
  const auto is_spare = [](const WorkerInfo& worker) { return worker.state == WorkerState::spare; };
  while (!std::ranges::any_of(executor.stats().workers, is_spare))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

Row measure_recovery_by_spare(const Effort& effort) {
  Row row{.id = "S12b",
          .what = "the same with a spare worker",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 3},
          .peers = {{"S4", {}}}};
  auto executor = make_mortal_executor(1);
  auto asleep = make_mortal_executor();
  asleep.submit(inc, 1).get();
  executor.submit(inc, 1).get();
  for (int i = 0; i < std::max(effort.repetitions, effort.times(50)); ++i) {
    wait_for_spare(executor);
    Stopwatch since;
    milliseconds_to_error(executor, 0, &since);
    executor.submit(inc, 1).get();
    row.ours.samples.push_back(since.seconds() * 1e3);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const Stopwatch watch;
    asleep.submit(inc, 1).get();
    row.peers[0].samples.push_back(watch.seconds() * 1e3);
  }
  return row;
}

}  // namespace

std::vector<Measurement> death_rows() {
  return {{"S11", measure_error},
          {"S11b", measure_large_worker, false},
          {"S12", measure_recovery},
          {"S12b", measure_recovery_by_spare}};
}

}  // namespace yoke::bench
