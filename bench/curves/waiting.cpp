// G-waiting: what a task costs while others wait: so many are submitted to one worker that is kept busy; then it is let
// go.
#include <algorithm>
#include <atomic>

#include "bench/burst.hpp"
#include "bench/curve.hpp"
#include "bench/gate.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

constexpr const char* to_submit = "us a task, to submit";
constexpr const char* to_end = "us a task, to its result";
constexpr const char* urgent = "us, priority 1, to its result";

template <class Future>
void collect(std::vector<Future>& futures) {
  for (std::size_t i = 0; i < futures.size(); ++i) expect_result(futures[i].get(), static_cast<int>(i));
}

void measure_yoke(Curve& curve, int count) {
  ProcessPoolExecutor executor(1);
  executor.submit(inc, 1).get();
  Gate gate(executor);
  std::vector<Future<int>> futures;
  futures.reserve(static_cast<std::size_t>(count));
  const Stopwatch submit_watch;
  for (int i = 0; i < count; ++i) futures.push_back(executor.submit(inc, i));
  curve.add("yoke", to_submit, count, submit_watch.seconds() * 1e6 / count);
  auto first = executor.submit({.priority = 1}, inc, -1);
  const Stopwatch watch;
  gate.open();
  expect_result(first.get(), -1);
  curve.add("yoke", urgent, count, watch.seconds() * 1e6);
  collect(futures);
  curve.add("yoke", to_end, count, watch.seconds() * 1e6 / count);
  gate.wait_until_passed();
}

std::atomic<bool> is_open;
int wait_until_open(int) {
  is_open.wait(false);
  return 0;
}

void measure_condvar(Curve& curve, int count) {
  is_open = false;
  const auto pool = make_condvar_pool(1);
  auto blocker = pool->submit(wait_until_open, 0);
  std::vector<std::future<int>> futures;
  futures.reserve(static_cast<std::size_t>(count));
  const Stopwatch submit_watch;
  for (int i = 0; i < count; ++i) futures.push_back(pool->submit(inc, i));
  curve.add("mutex+condvar", to_submit, count, submit_watch.seconds() * 1e6 / count);
  const Stopwatch watch;
  is_open = true;
  is_open.notify_all();
  collect(futures);
  curve.add("mutex+condvar", to_end, count, watch.seconds() * 1e6 / count);
  blocker.get();
}

Curve measure(const Effort& effort) {
  Curve curve{.id = "G-waiting", .what = "no-op tasks against how many wait", .along = "tasks waiting"};
  constexpr int many = 10'000'000;
  for (const int count : {1, 100, 10'000, 100'000, 1'000'000, many}) {
    if (count > effort.times(many)) continue;
    for (int turn = 0; turn < (count == many ? std::min(effort.repetitions, 3) : effort.repetitions); ++turn) {
      measure_yoke(curve, count);
      measure_condvar(curve, count);
    }
  }
  return curve;
}

}  // namespace

std::vector<MeasurementOf<Curve>> waiting_curves() { return {{"G-waiting", measure}}; }

}  // namespace yoke::bench
