// G-time: overhead against how long a task computes: what all tasks take on every processor, beyond the ideal schedule.
#include <algorithm>
#include <string>

#include "bench/curve.hpp"
#include "bench/ideal.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

constexpr double total_seconds = 0.2;  // of the ideal schedule, at each point
constexpr int most_tasks = 100'000;

void measure_point(Curve& curve, int workers, double task_us, const Effort& effort) {
  const double fitting = task_us > 0 ? total_seconds * 1e6 * workers / task_us : most_tasks;
  const int count = effort.times(static_cast<int>(std::min<double>(fitting, most_tasks)));
  const std::vector<int> values(static_cast<std::size_t>(std::max(count, 4 * workers)), rounds_of(task_us));
  const double ideal = ideal_seconds(workers, compute, values);
  const auto add = [&](const std::string& who, double seconds, double ideal_of_it, std::size_t tasks) {
    if (task_us > 0) curve.add(who, "% over the ideal", task_us, (seconds / ideal_of_it - 1) * 100);
    if (task_us <= 100)  // of longer ones it is a small difference of large numbers
      curve.add(who, "us a task over the ideal", task_us, (seconds - ideal_of_it) * 1e6 / static_cast<double>(tasks));
  };
  {
    ProcessPoolExecutor executor = make_ready_executor(workers);
    add("yoke", pool_seconds([&](int v) { return executor.submit(compute, v); }, values), ideal, values.size());
  }
  {
    const auto pool = make_condvar_pool(workers);
    add("mutex+condvar", pool_seconds([&](int v) { return pool->submit(compute, v); }, values), ideal, values.size());
  }
  const std::vector<int> fewer(values.begin(), values.begin() + std::min<std::ptrdiff_t>(std::ssize(values), 10'000));
  const auto pool = make_pipe_pool(workers);
  add("fork and pipes", pool_seconds([&](int v) { return pool->submit(compute, v); }, fewer),
      ideal * static_cast<double>(fewer.size()) / static_cast<double>(values.size()), fewer.size());
}

Curve measure(const Effort& effort) {
  Curve curve{
      .id = "G-time", .what = "overhead against the time that a task computes, all processors", .along = "us a task"};
  const int workers = cpu_count();
  for (int turn = 0; turn < effort.repetitions; ++turn)
    for (const double task_us : {0., 1., 10., 100., 1000., 10'000.}) measure_point(curve, workers, task_us, effort);
  return curve;
}

}  // namespace

std::vector<MeasurementOf<Curve>> task_time_curves() { return {{"G-time", measure}}; }

}  // namespace yoke::bench
