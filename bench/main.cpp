// yoke-bench: measures the library against its peers in one run, and prints the table of docs' figures.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "bench/machine.hpp"
#include "bench/peers/far_copy.hpp"
#include "bench/peers/own_copy.hpp"
#include "bench/peers/thread_pool.hpp"
#include "bench/results.hpp"
#include "bench/table.hpp"

namespace yoke::bench {
namespace {

template <class Item>
std::vector<Item> joined(std::initializer_list<std::vector<Item>> lists) {
  std::vector<Item> all;
  for (const auto& list : lists) std::ranges::copy(list, std::back_inserter(all));
  return all;
}

/// Those of goals by their numbers, then the others.
std::vector<Measurement> all_rows() {
  auto all = joined({throughput_rows(), round_trip_rows(), map_rows(), large_argument_rows(), shared_array_rows(),
                     start_rows(), death_rows(), idle_rows(), python_rows(), latency_rows(), cost_per_byte_rows(),
                     mixed_load_rows(), memory_rows(), remote_rows()});
  std::ranges::stable_sort(all, {}, [](const Measurement& m) { return m.id[0] == 'S' ? std::stoi(m.id + 1) : 100; });
  return all;
}

std::vector<MeasurementOf<Curve>> all_curves() {
  return joined({worker_curves(), waiting_curves(), payload_curves(), task_time_curves(), thread_curves()});
}

struct Choice {
  std::vector<std::string> names{};  // empty: all
  bool growth = false;               // curves alone
  bool guard = false;                // the guard's rows alone
  int patience = 0;                  // seconds

  template <class Result>
  [[nodiscard]] std::vector<MeasurementOf<Result>> of(std::vector<MeasurementOf<Result>> all, bool quick) const {
    std::erase_if(all, [&](const auto& one) {
      return names.empty() ? quick && !one.in_quick_run : std::ranges::count(names, one.id) == 0;
    });
    return all;
  }
};

/// Measures each, prints it, keeps it. Returns how many failed.
template <class Result>
int measure_all(const std::vector<MeasurementOf<Result>>& chosen, const Choice& choice, const Effort& effort,
                std::vector<Result>& results, void (*print)(const Result&)) {
  int failed = 0;
  for (const auto& one : chosen) {
    try {
      wait_for_calm(std::chrono::seconds(choice.patience));
      const OthersLoad others;
      Result result = one.measure(effort);
      result.others_load = others.share();
      print(result);
      results.push_back(std::move(result));
    } catch (const NotToBeHad& reason) {
      fmt::print("{:<10} not measured: {}\n", one.id, reason.what());
    } catch (const std::exception& error) {
      fmt::print("{:<10} FAILED: {}\n", one.id, error.what());
      ++failed;
    }
    std::fflush(stdout);
  }
  return failed;
}

int run(int argc, char** argv) {
  CLI::App app("Measures yoke against its peers: prints a table, keeps the samples.");
  Choice choice;
  std::string json;
  Effort effort;
  app.add_option("--only", choice.names, "these rows and curves, such as S1,S3,G-time")->delimiter(',');
  app.add_flag("--growth", choice.growth, "the curves alone: how cost grows");
  app.add_flag("--guard", choice.guard, "a few ratios to the naive way, in seconds");
  app.add_option("--json", json, "write all samples to FILE, for bench/plot.py")->option_text("FILE");
  app.add_option("--repetitions", effort.repetitions, "of each measurement, at least")->check(CLI::Range(1, 1000));
  std::string host;
  app.add_option("--host", host, "what runs a command on another machine, such as 'ssh -T NAME', for the rows R-*")
      ->option_text("COMMAND");
  app.add_option("--calm", choice.patience, "before each row, wait up to SECONDS for other programs to rest")
      ->option_text("SECONDS")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--quick", effort.quick, "a tenth of the work, without the slow rows: figures not to be quoted");
  CLI11_PARSE(app, argc, argv);
  if ((effort.quick || choice.guard) && app.count("--repetitions") == 0) effort.repetitions = 3;

  std::istringstream words(host);
  using Word = std::istream_iterator<std::string>;
  effort.host.assign(Word(words), Word());
  const Stopwatch watch;
  Results results{.machine = describe_machine()};
  if (choice.guard) {
    const int failed = measure_all(guard_rows(), choice, effort, results.rows, print_guard);
    if (!json.empty()) write_json(json, results);
    return failed == 0 ? 0 : 1;
  }
  const auto rows = choice.growth ? std::vector<Measurement>() : choice.of(all_rows(), effort.quick);
  const auto curves = choice.of(all_curves(), effort.quick);
  const auto is_known = [&](const std::string& name) {
    return std::ranges::count(rows, name, &Measurement::id) +
           std::ranges::count(curves, name, &MeasurementOf<Curve>::id);
  };
  for (const std::string& name : choice.names) {
    if (is_known(name)) continue;
    fmt::print(stderr, "yoke-bench: there is no row or curve {}\n", name);
    return 2;
  }
  fmt::print("{}\n", results.machine);
  for (const std::string& missing : missing_thread_pools()) fmt::print("without {}\n", missing);
  if (!rows.empty()) print_head();
  int failed = measure_all(rows, choice, effort, results.rows, print_row);
  if (!curves.empty()) print_curves_head();
  failed += measure_all(curves, choice, effort, results.curves, print_curve);
  fmt::print("\n{:.0f} s\n", watch.seconds());
  if (!json.empty()) write_json(json, results);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace yoke::bench

int main(int argc, char** argv) {
  yoke::bench::act_as_copy(argc, argv);
  yoke::bench::act_as_far_copy(argc, argv);
  try {
    return yoke::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "yoke-bench: {}\n", error.what());
    return 1;
  }
}
