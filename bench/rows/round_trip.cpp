// S3, S4: the time of one task, submitted and waited for, one at a time: back to back, and with the worker asleep.
#include <fmt/format.h>

#include <thread>

#include "bench/burst.hpp"
#include "bench/peers/futex_pair.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

/// The median of `count` trips with a pause before each.
template <class Trip>
double asleep_microseconds(int count, const Trip& trip) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const Stopwatch watch;
    trip();
    times.push_back(watch.seconds() * 1e6);
  }
  return median(std::move(times));
}

Row measure_hot(const Effort& effort) {
  Row row{.id = "S3",
          .what = "round trip, hot, one worker",
          .unit = "us",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 0.1},
          .judged_by = "asio::thread_pool"};
  const auto kinds = thread_pool_kinds();
  for (const auto& kind : kinds) row.peers.push_back({kind.name, {}});
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    ProcessPoolExecutor executor(1);
    row.ours.samples.push_back(hot_microseconds(effort.times(200'000), [&](int i) { return executor.submit(inc, i); }));
    executor.shutdown();
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      const auto pool = kinds[k].make(1);
      row.peers[k].samples.push_back(
          hot_microseconds(effort.times(10'000), [&](int i) { return pool->submit(inc, i); }));
    }
  }
  row.note = "and <= 1 us where two cores are free";
  return row;
}

Row measure_asleep(const Effort& effort) {
  Row row{.id = "S4",
          .what = "round trip, worker asleep (1 ms pauses)",
          .unit = "us",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 1.3},
          .peers = {{"futex ping-pong", {}}, {"futex ping-pong on two cores", {}}},
          .judged_by = "futex ping-pong"};
  const int count = effort.times(500);
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    {
      ProcessPoolExecutor executor(1);
      executor.submit(inc, 1).get();
      row.ours.samples.push_back(asleep_microseconds(count, [&] { executor.submit(inc, 1).get(); }));
    }
    for (const auto placement : {FutexPair::Placement::free, FutexPair::Placement::apart}) {
      FutexPair pair(placement);
      pair.round_trip();
      auto& samples = row.peers[placement == FutexPair::Placement::free ? 0 : 1].samples;
      samples.push_back(asleep_microseconds(count, [&] { pair.round_trip(); }));
    }
  }
  return row;
}

}  // namespace

std::vector<Measurement> round_trip_rows() { return {{"S3", measure_hot}, {"S4", measure_asleep}}; }

}  // namespace yoke::bench
