// The guard: a few figures in seconds, as ratios to the naive way, for the output of tools/check.
#include <signal.h>

#include <cstring>
#include <stdexcept>

#include "bench/burst.hpp"
#include "bench/ideal.hpp"
#include "bench/peers/own_copy.hpp"
#include "bench/peers/pipe_pool.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/ready_executor.hpp"
#include "bench/row.hpp"
#include "bench/rows/first_result.hpp"
#include "bench/rows/kill.hpp"
#include "bench/rows/mixed_load.hpp"
#include "bench/work.hpp"

namespace yoke::bench {
namespace {

constexpr const char* naive = "fork and pipes";

Row measure_throughput(const Effort& effort) {
  Row row{
      .id = "S1", .what = "no-op tasks, one worker", .unit = "M/s", .better = Better::higher, .peers = {{naive, {}}}};
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    ProcessPoolExecutor executor(1);
    row.ours.samples.push_back(warm_burst_rate(200'000, [&](int i) { return executor.submit(inc, i); }));
    const auto pool = make_pipe_pool(1);
    row.peers[0].samples.push_back(warm_burst_rate(10'000, [&](int i) { return pool->submit(inc, i); }));
  }
  return row;
}

Row measure_round_trip(const Effort& effort) {
  Row row{.id = "S3", .what = "round trip, hot", .unit = "us", .better = Better::lower, .peers = {{naive, {}}}};
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    ProcessPoolExecutor executor(1);
    row.ours.samples.push_back(hot_microseconds(50'000, [&](int i) { return executor.submit(inc, i); }));
    const auto pool = make_pipe_pool(1);
    row.peers[0].samples.push_back(hot_microseconds(3'000, [&](int i) { return pool->submit(inc, i); }));
  }
  return row;
}

PipePool::Message ends_of_bytes(std::span<const std::byte> message) {
  std::vector<double> values(message.size() / sizeof(double));
  std::memcpy(values.data(), message.data(), message.size());
  const double ends = ends_of_vector(std::move(values));
  PipePool::Message answer(sizeof ends);
  std::memcpy(answer.data(), &ends, sizeof ends);
  return answer;
}

Row measure_large_argument(const Effort& effort) {
  Row row{.id = "S6",
          .what = "20 MB std::vector<double> by value",
          .unit = "ms",
          .better = Better::lower,
          .peers = {{naive, {}}}};
  const std::vector<double> values(2'500'000, 1.5);
  ProcessPoolExecutor executor(1);
  PipePool pool(1);
  const auto once = [&] { executor.submit(ends_of_vector, values).get(); };
  const auto once_naive = [&] {
    PipePool::Message message(values.size() * sizeof(double));
    std::memcpy(message.data(), values.data(), message.size());
    pool.submit(ends_of_bytes, std::move(message)).get();
  };
  once();
  once_naive();
  for (int turn = 0; turn < 3 * effort.repetitions; ++turn) {
    const Stopwatch watch;
    once();
    row.ours.samples.push_back(watch.seconds() * 1e3);
    const Stopwatch naive_watch;
    once_naive();
    row.peers[0].samples.push_back(naive_watch.seconds() * 1e3);
  }
  return row;
}

Row measure_start(const Effort& effort) {
  Row row{.id = "S9",
          .what = "first result, cold pool",
          .unit = "ms",
          .better = Better::lower,
          .peers = {{"posix_spawn until exit", {}}}};
  for (int turn = 0; turn < 5 * effort.repetitions; ++turn) {
    row.ours.samples.push_back(milliseconds_to_first_result());
    row.peers[0].samples.push_back(seconds_of_exiting_copy() * 1e3);
  }
  return row;
}

PipePool::Message spin(std::span<const std::byte>) {
  spin_for_ever();
  return {};
}

double milliseconds_to_end_of_pipe() {
  PipePool pool(1);
  auto victim = pool.submit(spin, {});
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // it has begun
  const Stopwatch watch;
  ::kill(pool.pid(0), SIGKILL);
  try {
    victim.get();
  } catch (const std::runtime_error&) {
    return watch.seconds() * 1e3;
  }
  throw std::logic_error("a task outlived its worker");
}

Row measure_death(const Effort& effort) {
  Row row{.id = "S11",
          .what = "SIGKILL of a busy worker to the error",
          .unit = "ms",
          .better = Better::lower,
          .peers = {{naive, {}}}};
  ProcessPoolExecutor executor = make_mortal_executor();
  milliseconds_to_error(executor);  // the first one reads debug information
  for (int turn = 0; turn < 10 * effort.repetitions; ++turn) {
    row.ours.samples.push_back(milliseconds_to_error(executor));
    row.peers[0].samples.push_back(milliseconds_to_end_of_pipe());
  }
  return row;
}

Row measure_mixed_load(const Effort& effort) {
  Row row{.id = "M-mixed",
          .what = "1 % long tasks among short ones",
          .unit = "ms",
          .better = Better::lower,
          .peers = {{"ideal schedule", {}}}};
  const auto values = mixed_values(10'000, rounds_of(10), rounds_of(1000));
  const int workers = cpu_count();
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    ProcessPoolExecutor executor = make_ready_executor(workers);
    row.ours.samples.push_back(pool_seconds([&](int v) { return executor.submit(compute, v); }, values) * 1e3);
    row.peers[0].samples.push_back(ideal_seconds(workers, compute, values) * 1e3);
  }
  return row;
}

}  // namespace

std::vector<Measurement> guard_rows() {
  return {{"S1", measure_throughput}, {"S3", measure_round_trip}, {"S6", measure_large_argument},
          {"S9", measure_start},      {"S11", measure_death},     {"M-mixed", measure_mixed_load}};
}

}  // namespace yoke::bench
