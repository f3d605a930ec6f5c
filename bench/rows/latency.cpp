// L-hot, L-asleep: how round trips are distributed, each timed alone: what the means of S3 and S4 do not show.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "bench/burst.hpp"
#include "bench/peers/futex_pair.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

std::string tail_of(const Figure& figure) {
  return fmt::format("{}: {:.3g} us", figure.who, quantile(figure.samples, 0.99));
}
std::string tails_of(const Row& row) {
  std::string text = "99th percentiles: " + tail_of(row.ours);
  for (const Figure& peer : row.peers) text += ", " + tail_of(peer);
  return text;
}

/// `count` times of one trip each, with a pause before each.
template <class Trip>
std::vector<double> times_of(int count, std::chrono::microseconds pause, const Trip& trip) {
  for (int i = 0; i < 100; ++i) trip(i);
  std::vector<double> times;
  times.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    const Stopwatch watch;
    trip(i);
    times.push_back(watch.seconds() * 1e6);
  }
  return times;
}

Row measure(const char* id, const char* what, int count, std::chrono::microseconds pause) {
  Row row{.id = id, .what = what, .unit = "us", .better = Better::lower};
  {
    ProcessPoolExecutor executor(1);
    row.ours.samples = times_of(count, pause, [&](int i) { expect_result(executor.submit(inc, i).get(), i); });
  }
  for (const auto& kind : thread_pool_kinds()) {
    const auto pool = kind.make(1);
    row.peers.push_back(
        {kind.name, times_of(count, pause, [&](int i) { expect_result(pool->submit(inc, i).get(), i); })});
  }
  if (pause.count() > 0) {
    FutexPair pair(FutexPair::Placement::apart);
    row.peers.push_back({"futex ping-pong on two cores", times_of(count, pause, [&](int) { pair.round_trip(); })});
  }
  row.note = tails_of(row);
  return row;
}

}  // namespace

std::vector<Measurement> latency_rows() {
  using std::chrono::microseconds;
  return {{"L-hot",
           [](const Effort& effort) {
             return measure("L-hot", "one round trip of many back to back", effort.times(5000), microseconds(0));
           }},
          {"L-asleep", [](const Effort& effort) {
             return measure("L-asleep", "one round trip after a pause of 1 ms", effort.times(1000), microseconds(1000));
           }}};
}

}  // namespace yoke::bench
