// yoke-bench: measures the library against its peers in one run, and prints the table of docs' figures.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <iterator>
#include <string>
#include <vector>

#include "bench/machine.hpp"
#include "bench/peers/own_copy.hpp"
#include "bench/row.hpp"
#include "bench/table.hpp"

namespace yoke::bench {
namespace {

std::vector<Measurement> all_rows() {
  std::vector<Measurement> all;
  for (const auto rows : {throughput_rows, round_trip_rows, map_rows, large_argument_rows, start_rows, death_rows,
                          idle_rows})
    std::ranges::copy(rows(), std::back_inserter(all));
  std::ranges::stable_sort(all, {}, [](const Measurement& m) { return std::stoi(m.id + 1); });
  return all;
}

int run(int argc, char** argv) {
  CLI::App app("Measures yoke against its peers: prints a table, keeps the samples.");
  std::vector<std::string> only;
  std::string json;
  int patience = 0;
  Effort effort;
  app.add_option("--only", only, "these rows, such as S1,S3")->delimiter(',');
  app.add_option("--json", json, "write all samples to FILE")->option_text("FILE");
  app.add_option("--repetitions", effort.repetitions, "of each measurement, at least")->check(CLI::Range(1, 1000));
  app.add_option("--calm", patience, "before each row, wait up to SECONDS for other programs to rest")
      ->option_text("SECONDS")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--quick", effort.quick, "a tenth of the work, without the slow rows: figures not to be quoted");
  CLI11_PARSE(app, argc, argv);
  if (effort.quick && app.count("--repetitions") == 0) effort.repetitions = 3;

  std::vector<Measurement> chosen;
  for (const Measurement& row : all_rows()) {
    const bool named = std::erase(only, row.id) != 0;
    if (app.count("--only") == 0 ? row.in_quick_run || !effort.quick : named) chosen.push_back(row);
  }
  if (!only.empty()) {
    fmt::print(stderr, "yoke-bench: there is no row {}\n", only.front());
    return 2;
  }
  const std::string machine = describe_machine();
  print_head(machine);
  std::vector<Row> rows;
  int failed = 0;
  for (const Measurement& row : chosen) {
    try {
      wait_for_calm(std::chrono::seconds(patience));
      const OthersLoad others;
      rows.push_back(row.measure(effort));
      rows.back().others_load = others.share();
      print_row(rows.back());
    } catch (const std::exception& error) {
      fmt::print("{:<5} FAILED: {}\n", row.id, error.what());
      ++failed;
    }
  }
  if (!json.empty()) write_json(json, machine, rows);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace yoke::bench

int main(int argc, char** argv) {
  yoke::bench::act_as_copy(argc, argv);
  try {
    return yoke::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "yoke-bench: {}\n", error.what());
    return 1;
  }
}
