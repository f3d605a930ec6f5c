// M-memory*: how long after a task with 1 GB the memory of parent and worker is what it was before, but for 5 %.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "bench/proc.hpp"
#include "bench/ready_executor.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

constexpr std::size_t payload = std::size_t{1} << 30;
constexpr double patience = 10;  // seconds

double megabytes_of(pid_t pid) { return resident_kilobytes(pid) / 1024; }
double shared_megabytes() { return sum_of_lines("/proc/meminfo", {"Shmem:"}) / 1024; }

/// `deed` runs the task in the executor and leaves nothing behind.
template <class Deed>
Row measure(const char* id, const char* what, const Effort& effort, const Deed& deed) {
  if (available_bytes() < 6.0 * payload) throw NotToBeHad("needs 6 GB of memory");
  Row row{.id = id, .what = what, .unit = "s", .better = Better::lower, .reach = {Reach::Of::figure, 5}};
  constexpr double little = payload / 1048576.0 * 0.05;
  double in_parent = 0, in_worker = 0, shared = 0;
  for (int turn = 0; turn < std::min(effort.repetitions, 3); ++turn) {
    ProcessPoolExecutor executor = make_ready_executor(1);
    const int worker = executor.submit(own_pid).get();
    ::malloc_trim(0);
    const double parent_before = megabytes_of(::getpid()), worker_before = megabytes_of(worker);
    const double shared_before = shared_megabytes();
    deed(executor);
    const Stopwatch watch;
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      in_parent = megabytes_of(::getpid()) - parent_before;
      in_worker = megabytes_of(worker) - worker_before;
      shared = shared_megabytes() - shared_before;
    } while (in_parent + in_worker + std::max(shared, 0.0) > little && watch.seconds() < patience);
    row.ours.samples.push_back(watch.seconds());
  }
  row.note =
      fmt::format("left then: {:.0f} MB in the parent, {:.0f} MB in the worker, {:.0f} MB shared memory of the system",
                  in_parent, in_worker, shared);
  return row;
}

Row measure_argument(const Effort& effort) {
  return measure("M-memory", "1 GB argument: until its memory is given back", effort, [](auto& executor) {
    executor.submit(ends_of_vector, std::vector<double>(payload / sizeof(double), 1.5)).get();
  });
}

std::vector<double> make_vector(std::size_t size) { return std::vector<double>(size, 1.5); }

Row measure_result(const Effort& effort) {
  return measure("M-memory-r", "1 GB result: until its memory is given back", effort,
                 [](auto& executor) { executor.submit(make_vector, payload / sizeof(double)).get(); });
}

}  // namespace

std::vector<Measurement> memory_rows() {
  return {{"M-memory", measure_argument, false}, {"M-memory-r", measure_result, false}};
}

}  // namespace yoke::bench
