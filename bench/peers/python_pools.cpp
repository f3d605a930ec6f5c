#include "bench/peers/python_pools.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace yoke::bench {
namespace {

constexpr const char* python =
    "/usr/bin/python3";  // Debian's, which has python3-joblib; not one that comes first in PATH
constexpr const char* script = YOKE_BENCH_FOLDER "/python_peers.py";

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::string output;
  char part[4096];
  for (std::size_t n; (n = std::fread(part, 1, sizeof part, pipe)) > 0;) output.append(part, n);
  const int status = ::pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("this failed: " + command);
  return output;
}

PythonFigures measure(const std::string& arguments, const Effort& effort) {
  if (::access(python, X_OK) != 0 || ::access(script, R_OK) != 0)
    throw NotToBeHad(fmt::format("needs {} (Debian: python3, python3-joblib) and {}", python, script));
  const auto json = nlohmann::json::parse(output_of(fmt::format(
      "timeout 300 {} '{}' {} --repetitions 5 --tasks {} --json -", python, script, arguments, effort.times(5'000))));
  PythonFigures figures;
  for (const auto& result : json.at("results"))
    figures.entries.push_back({result.at("id"), {result.at("peer"), result.at("samples")}});
  for (const auto& [peer, reason] : json.at("missing").items())
    figures.missing +=
        fmt::format("{}{} is left out: {}", figures.missing.empty() ? "" : "; ", peer, reason.get<std::string>());
  return figures;
}

}  // namespace

void PythonFigures::add_to(Row& row, const std::string& of, double scale) const {
  for (const auto& [id, figure] : entries) {
    if (id != of) continue;
    row.peers.push_back(figure);
    for (double& sample : row.peers.back().samples) sample *= scale;
  }
  row.note = missing;
}

const PythonFigures& python_figures(const Effort& effort) {
  static const PythonFigures figures = measure("--rows S1,S3,S11", effort);
  return figures;
}

const PythonFigures& mpi_figures(const Effort& effort) {
  static const PythonFigures figures = measure("--mpi --rows S1,S3", effort);
  return figures;
}

}  // namespace yoke::bench
