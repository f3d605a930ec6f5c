// S13, S14, S15: what is used when nothing happens: an idle worker's memory, a waiting task's, and wake-ups.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include "bench/peers/own_copy.hpp"
#include "bench/proc.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

/// Context switches of every thread of the process so far, by thread; without this thread, which is the one that looks.
std::map<std::string, double> context_switches(int pid) {
  std::map<std::string, double> switches;
  const std::string self = std::to_string(::gettid());
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
    if (thread.path().filename() == self) continue;
    switches[thread.path().filename()] =
        sum_of_lines(thread.path() / "status", {"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"});
  }
  return switches;
}

std::vector<int> pids_of(const ProcessPoolExecutor& executor) {
  std::vector<int> pids;
  for (const WorkerInfo& worker : executor.stats().workers) pids.push_back(worker.pid);
  return pids;
}

/// Starts all workers, and returns when all are idle and have gone to sleep.
void settle(ProcessPoolExecutor& executor) {
  const auto all_idle = [&] {
    const Stats stats = executor.stats();
    if (static_cast<int>(stats.workers.size()) < executor.max_workers()) return false;
    return std::ranges::all_of(stats.workers, [](const auto& w) { return w.state == WorkerState::idle; });
  };
  executor.submit(inc, 1).get();
  while (!all_idle()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::seconds(3));  // for what is kept warm for a while
}

Row measure_worker_memory(const Effort&) {
  Row row{.id = "S13",
          .what = "private memory of an idle worker above an idle copy's",
          .unit = "KB",
          .better = Better::lower,
          .reach = {Reach::Of::figure, 1024}};
  ProcessPoolExecutor executor(ExecutorOptions{.max_workers = 5, .spawn_eagerly = true});
  settle(executor);
  const IdleCopy copy;
  const double base = private_kilobytes(copy.pid());
  for (const int pid : pids_of(executor)) row.ours.samples.push_back(private_kilobytes(pid) - base);
  row.note = fmt::format("an idle copy has {:.0f} KB", base);
  return row;
}

Row measure_task_memory(const Effort& effort) {
  Row row{.id = "S14",
          .what = "parent memory of a waiting no-op task, future held",
          .unit = "bytes",
          .better = Better::lower,
          .reach = {Reach::Of::figure, 256}};
  const int count = effort.times(1'000'000);
  for (int turn = 0; turn < (effort.quick ? 1 : 5); ++turn) {
    ProcessPoolExecutor executor(1);
    const auto blocker = executor.submit(sleep_for_ever);
    while (!blocker.running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ::malloc_trim(0);
    const double before = resident_kilobytes(::getpid());
    std::vector<Future<int>> futures;
    futures.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) futures.push_back(executor.submit(inc, i));
    row.ours.samples.push_back((resident_kilobytes(::getpid()) - before) * 1024 / count);
    executor.shutdown({.kill_workers = true});
  }
  return row;
}

Row measure_wakeups(const Effort& effort) {
  Row row{.id = "S15",
          .what = "context switches, 8 idle workers and parent, 5 s",
          .unit = "",
          .better = Better::lower,
          .reach = {Reach::Of::figure, 0}};
  ProcessPoolExecutor executor(ExecutorOptions{.max_workers = 8, .spawn_eagerly = true});
  settle(executor);
  auto pids = pids_of(executor);
  pids.push_back(::getpid());
  for (int turn = 0; turn < (effort.quick ? 1 : 5); ++turn) {
    std::map<int, std::map<std::string, double>> before;
    for (const int pid : pids) before[pid] = context_switches(pid);
    std::this_thread::sleep_for(std::chrono::seconds(5));
    double switches = 0;
    for (const int pid : pids)
      for (const auto& [thread, count] : context_switches(pid)) switches += count - before[pid][thread];
    row.ours.samples.push_back(switches);
  }
  return row;
}

}  // namespace

std::vector<Measurement> idle_rows() {
  return {{"S13", measure_worker_memory}, {"S14", measure_task_memory}, {"S15", measure_wakeups}};
}

}  // namespace yoke::bench
