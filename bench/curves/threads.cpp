// G-threads: throughput against the number of threads that submit and wait.
#include <barrier>
#include <exception>
#include <future>
#include <thread>

#include "bench/burst.hpp"
#include "bench/curve.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

/// Each thread submits its share, then gets it.
template <class Submit>
double burst_rate_of_threads(int threads, int count, const Submit& submit) {
  burst(count, submit);  // their memory is there
  std::barrier start(threads + 1);
  std::vector<std::future<void>> submitters;  // carries what a burst throws
  for (int i = 0; i < threads; ++i)
    submitters.push_back(std::async(std::launch::async, [&] {
      start.arrive_and_wait();
      burst(count / threads, submit);
    }));
  start.arrive_and_wait();
  const Stopwatch watch;
  for (auto& submitter : submitters) submitter.get();
  return count / watch.seconds() / 1e6;
}

Curve measure(const Effort& effort) {
  Curve curve{.id = "G-threads",
              .what = "no-op tasks against the threads that submit and wait, one worker",
              .along = "threads"};
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    for (const int threads : {1, 2, 4, 8}) {
      {
        ProcessPoolExecutor executor = make_ready_executor(1);
        curve.add("yoke", "M tasks/s", threads, burst_rate_of_threads(threads, effort.times(200'000), [&](int i) {
                    return executor.submit(inc, i);
                  }));
      }
      for (const auto& kind : thread_pool_kinds()) {
        if (!kind.counts_threads) continue;
        const auto pool = kind.make(1);
        curve.add(kind.name, "M tasks/s", threads,
                  burst_rate_of_threads(threads, std::min(effort.times(200'000), kind.most_tasks),
                                        [&](int i) { return pool->submit(inc, i); }));
      }
    }
  }
  return curve;
}

}  // namespace

std::vector<MeasurementOf<Curve>> thread_curves() { return {{"G-threads", measure}}; }

}  // namespace yoke::bench
