// R-*: tasks on another machine, through the command that `--host` gives, against bare bytes through the same command.
#include <array>

#include "bench/burst.hpp"
#include "bench/peers/far_copy.hpp"
#include "bench/peers/python_pools.hpp"
#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/remote.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

const std::vector<std::string>& need_host(const Effort& effort) {
  if (effort.host.empty()) throw NotToBeHad("needs a machine: --host 'ssh -T NAME' (bench/over_ssh.sh starts one)");
  return effort.host;
}

Executor executor_at(const Effort& effort, int workers) {
  std::vector<std::string> launcher = need_host(effort);
  launcher.emplace_back("{agent_command}");
  return Executor(std::make_shared<RemotePool>(RemoteOptions{.hosts = {{"far", std::move(launcher), workers}}}));
}

/// mpi4py.futures on the same task, where it is installed.
void add_mpi(Row& row, const char* of, double scale, const Effort& effort) {
  try {
    mpi_figures(effort).add_to(row, of, scale);
  } catch (const NotToBeHad& reason) {
    row.note = reason.what();
  }
}

Row measure_round_trip(const Effort& effort) {
  Row row{.id = "R-rtt",
          .what = "round trip to another machine, one worker",
          .unit = "us",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 1.3},
          .peers = {{"frame of 32 bytes", {}}},
          .judged_by = "frame of 32 bytes"};
  Executor executor = executor_at(effort, 1);
  FarCopy copy(need_host(effort));
  std::array<std::byte, 32> content{};
  constexpr int at_once = 500;
  for (int turn = 0; turn < std::max(effort.repetitions, effort.times(21)); ++turn) {
    row.ours.samples.push_back(hot_microseconds(at_once, [&](int i) { return executor.submit(inc, i); }));
    const Stopwatch watch;
    for (int i = 0; i < at_once; ++i) copy.round_trip(content);
    row.peers[0].samples.push_back(watch.seconds() * 1e6 / at_once);
  }
  add_mpi(row, "S3", 1, effort);
  return row;
}

Row measure_throughput(const Effort& effort) {
  Row row{.id = "R-tasks",
          .what = "no-op submit then get, 100000 tasks, another machine",
          .unit = "M tasks/s",
          .better = Better::higher,
          .reach = {Reach::Of::figure, 0.2}};
  Executor executor = executor_at(effort, 1);
  for (int turn = 0; turn < effort.repetitions; ++turn)
    row.ours.samples.push_back(warm_burst_rate(effort.times(100'000), [&](int i) { return executor.submit(inc, i); }));
  add_mpi(row, "S1", 1e-6, effort);
  return row;
}

Row measure_large(const Effort& effort) {
  Row row{.id = "R-bytes",
          .what = "100 MB to a std::span<const double> on another machine",
          .unit = "MB/s",
          .better = Better::higher,
          .reach = {Reach::Of::ratio, 0.7},
          .peers = {{"bytes that are read there", {}}}};
  constexpr std::size_t megabytes = 100;
  const std::vector<double> values(megabytes * 1'000'000 / sizeof(double), 1.5);
  Executor executor = executor_at(effort, 1);
  FarCopy copy(need_host(effort));
  executor.submit(ends_of_span, values).get();
  copy.send(std::as_bytes(std::span(values)));
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    const Stopwatch watch;
    executor.submit(ends_of_span, values).get();
    row.ours.samples.push_back(megabytes / watch.seconds());
    const Stopwatch copy_watch;
    copy.send(std::as_bytes(std::span(values)));
    row.peers[0].samples.push_back(megabytes / copy_watch.seconds());
  }
  return row;
}

Row measure_broadcast(const Effort& effort) {
  Row row{.id = "R-array",
          .what = "a task with a SharedArray of 100 MB that the machine has",
          .unit = "ms",
          .better = Better::lower,
          .peers = {{"the same, of broadcast", {}}, {"the same, sent with the task", {}}},
          .judged_by = "the same, sent with the task"};
  const std::vector<double>& values = kept_vector(12'500'000);
  const SharedArray<double> array(values);
  const auto constant = broadcast(values);
  Executor executor = executor_at(effort, 1);
  const auto milliseconds = [&](const auto& function, const auto& argument) {
    const Stopwatch watch;
    executor.submit(function, argument).get();
    return watch.seconds() * 1e3;
  };
  const auto of_constant = [](const std::vector<double>& all) { return all.front() + all.back(); };
  milliseconds(ends_of_shared, array);
  milliseconds(of_constant, constant);
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    row.ours.samples.push_back(milliseconds(ends_of_shared, array));
    row.peers[0].samples.push_back(milliseconds(of_constant, constant));
    row.peers[1].samples.push_back(milliseconds(ends_of_span, values));
  }
  return row;
}

Row measure_start(const Effort& effort) {
  Row row{.id = "R-start",
          .what = "first result from another machine",
          .unit = "ms",
          .better = Better::lower,
          .reach = {Reach::Of::ratio, 2},
          .peers = {{"the command, running true", {}}}};
  std::vector<std::string> command = need_host(effort);
  command.emplace_back("true");
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    row.peers[0].samples.push_back(seconds_of_command(command) * 1e3);
    const Stopwatch watch;
    Executor executor = executor_at(effort, 1);
    executor.submit(inc, 1).get();
    row.ours.samples.push_back(watch.seconds() * 1e3);
  }
  return row;
}

}  // namespace

std::vector<Measurement> remote_rows() {
  return {{"R-rtt", measure_round_trip},
          {"R-tasks", measure_throughput},
          {"R-bytes", measure_large},
          {"R-array", measure_broadcast, false},
          {"R-start", measure_start}};
}

}  // namespace yoke::bench
