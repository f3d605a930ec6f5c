#include "bench/table.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace yoke::bench {
namespace {

/// "0.35 us (0.31..0.48)": the median and the spread.
std::string figure_text(const Figure& figure, const std::string& unit) {
  const auto [low, high] = spread(figure.samples);
  return fmt::format("{:.3g}{}{} ({:.3g}..{:.3g})", median(figure.samples), unit.empty() ? "" : " ", unit, low, high);
}

std::string reach_text(const Row& row) {
  const char* sign = row.better == Better::higher ? ">=" : "<=";
  const std::string limit = row.reach.of == Reach::Of::ratio ? fmt::format("{} {:g} x", sign, row.reach.limit)
                                                             : fmt::format("{} {:g} {}", sign, row.reach.limit, row.unit);
  const auto reached = row.reached();
  return limit + (!reached ? "" : *reached ? "  yes" : "  NO");
}

}  // namespace

void print_head(const std::string& machine) {
  fmt::print("{}\nmedian (quartiles); ratio to the peer; others: what other programs took of the machine\n\n",
             machine);
  fmt::print("{:<5} {:<55} {:<32} {:<22} {:>7}  {:<20} {:>6}\n", "id", "what", "ours", "peer", "ratio", "reach",
             "others");
}

void print_row(const Row& row) {
  const Figure* peer = row.peer();
  const auto ratio = row.ratio();
  fmt::print("{:<5} {:<55} {:<32} {:<22} {:>7}  {:<20} {:>5.0f}%\n", row.id, row.what, figure_text(row.ours, row.unit),
             peer ? peer->who : "", ratio ? fmt::format("{:.3g}", *ratio) : "", reach_text(row), row.others_load * 100);
  for (const Figure& each : row.peers)
    fmt::print("{:<5} {:>55} {}\n", "", each.who, figure_text(each, row.unit));
  if (!row.note.empty()) fmt::print("{:<5} {:>55} {}\n", "", "", row.note);
  std::fflush(stdout);
}

void write_json(const std::string& path, const std::string& machine, const std::vector<Row>& rows) {
  using Json = nlohmann::ordered_json;
  const auto figure_json = [](const Figure& figure) {
    return Json{{"who", figure.who}, {"median", median(figure.samples)}, {"samples", figure.samples}};
  };
  Json all{{"machine", machine}, {"rows", Json::array()}};
  for (const Row& row : rows) {
    Json one{{"id", row.id},
             {"what", row.what},
             {"unit", row.unit},
             {"better", row.better == Better::higher ? "higher" : "lower"},
             {"reach_of", row.reach.of == Reach::Of::ratio ? "ratio" : "figure"},
             {"reach", row.reach.limit},
             {"ours", figure_json(row.ours)},
             {"peers", Json::array()},
             {"others_load", row.others_load},
             {"note", row.note}};
    for (const Figure& peer : row.peers) one["peers"].push_back(figure_json(peer));
    if (const auto ratio = row.ratio()) one["ratio"] = *ratio;
    if (const auto reached = row.reached()) one["reached"] = *reached;
    all["rows"].push_back(std::move(one));
  }
  std::ofstream file(path);
  file << all.dump(2) << '\n';
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace yoke::bench
