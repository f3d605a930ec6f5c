#include "bench/table.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <set>

namespace yoke::bench {
namespace {

/// "0.35 us (0.31..0.48)": the median and the spread.
std::string figure_text(const Figure& figure, const std::string& unit) {
  const auto [low, high] = spread(figure.samples);
  return fmt::format("{:.3g}{}{} ({:.3g}..{:.3g})", median(figure.samples), unit.empty() ? "" : " ", unit, low, high);
}

std::string reach_text(const Row& row) {
  if (row.reach.of == Reach::Of::nothing) return "";
  const char* sign = row.better == Better::higher ? ">=" : "<=";
  const std::string limit = row.reach.of == Reach::Of::ratio
                                ? fmt::format("{} {:g} x", sign, row.reach.limit)
                                : fmt::format("{} {:g} {}", sign, row.reach.limit, row.unit);
  const auto reached = row.reached();
  return limit + (!reached ? "" : *reached ? "  yes" : "  NO");
}

std::string ratio_text(const Row& row) {
  const auto ratio = row.ratio();
  return ratio ? fmt::format("{:.3g}", *ratio) : "";
}

/// 64, 32k, 10M, 1G.
std::string short_number(double value) {
  for (const auto& [factor, letter] : {std::pair{1e9, 'G'}, {1e6, 'M'}, {1e3, 'k'}})
    if (value >= factor) return fmt::format("{:g}{}", value / factor, letter);
  return fmt::format("{:g}", value);
}

/// "2.45 +-12%", as narrow as three digits allow.
std::string point_text(const Point& point) {
  const double middle = median(point.samples);
  const auto [low, high] = spread(point.samples);
  const std::string number = middle >= 999.5 ? fmt::format("{:.0f}", middle) : fmt::format("{:.3g}", middle);
  return middle == 0 ? number : fmt::format("{} ~{:.0f}%", number, (high - low) / 2 / std::abs(middle) * 100);
}

}  // namespace

void print_head() {
  fmt::print("median (quartiles); ratio to the peer; others: what other programs took of the machine\n\n");
  fmt::print("{:<10} {:<55} {:<32} {:<26} {:>7}  {:<20} {:>6}\n", "id", "what", "ours", "peer", "ratio", "reach",
             "others");
}

void print_row(const Row& row) {
  const Figure* peer = row.peer();
  fmt::print("{:<10} {:<55} {:<32} {:<26} {:>7}  {:<20} {:>5.0f}%\n", row.id, row.what, figure_text(row.ours, row.unit),
             peer ? peer->who : "", ratio_text(row), reach_text(row), row.others_load * 100);
  for (const Figure& each : row.peers)
    if (!each.samples.empty()) fmt::print("{:<10} {:>55} {}\n", "", each.who, figure_text(each, row.unit));
  if (!row.note.empty()) fmt::print("{:<10} {:>55} {}\n", "", "", row.note);
  std::fflush(stdout);
}

void print_curves_head() { fmt::print("\nmedian ~half of what lies between the quartiles\n"); }

void print_curve(const Curve& curve) {
  std::set<double> xs;
  for (const Line& line : curve.lines)
    for (const Point& point : line.points) xs.insert(point.x);
  fmt::print("\n{}: {}; others {:.0f}%\n{:>46}", curve.id, curve.what, curve.others_load * 100, curve.along);
  for (const double x : xs) fmt::print(" {:>12}", short_number(x));
  fmt::print("\n");
  for (const Line& line : curve.lines) {
    fmt::print("{:>46}", line.who + ", " + line.unit);
    for (const double x : xs) {
      const auto point = std::ranges::find(line.points, x, &Point::x);
      fmt::print(" {:>12}", point == line.points.end() ? "" : point_text(*point));
    }
    fmt::print("\n");
  }
  if (!curve.note.empty()) fmt::print("{:>46} {}\n", "", curve.note);
  std::fflush(stdout);
}

void print_guard(const Row& row) {
  const Figure* peer = row.peer();
  fmt::print("  {:<46} {:>22}  {:<24} {:>12}  ratio {:<10} {}\n", row.what,
             fmt::format("{:.3g} {}", median(row.ours.samples), row.unit), peer ? peer->who : "",
             peer ? fmt::format("{:.3g}", median(peer->samples)) : "", ratio_text(row), row.note);
  std::fflush(stdout);
}

}  // namespace yoke::bench
