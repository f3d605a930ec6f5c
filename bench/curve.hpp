// Curve: how figures grow along one quantity: lines of points, each with the samples that it stands on.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "bench/row.hpp"

namespace yoke::bench {

struct Point {
  double x = 0;
  std::vector<double> samples{};  // in the line's unit
};

struct Line {
  std::string who{};
  std::string unit{};
  std::vector<Point> points{};  // by x
};

struct Curve {
  std::string id{};
  std::string what{};
  std::string along{};  // the quantity, with its unit
  std::vector<Line> lines{};
  std::string note{};
  double others_load = 0;  // as of a Row

  /// One more sample of a line at x; the line and the point are made at their first.
  void add(const std::string& who, const std::string& unit, double x, double sample) {
    auto line = std::ranges::find_if(lines, [&](const Line& l) { return l.who == who && l.unit == unit; });
    if (line == lines.end()) line = lines.insert(line, Line{who, unit, {}});
    auto point = std::ranges::lower_bound(line->points, x, {}, &Point::x);
    if (point == line->points.end() || point->x != x) point = line->points.insert(point, Point{x, {}});
    point->samples.push_back(sample);
  }
};

/// curves/*.cpp.
std::vector<MeasurementOf<Curve>> worker_curves();
std::vector<MeasurementOf<Curve>> waiting_curves();
std::vector<MeasurementOf<Curve>> payload_curves();
std::vector<MeasurementOf<Curve>> task_time_curves();
std::vector<MeasurementOf<Curve>> thread_curves();

}  // namespace yoke::bench
