#include "bench/results.hpp"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace yoke::bench {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(Reach::Of of) {
  switch (of) {
    case Reach::Of::ratio: return "ratio";
    case Reach::Of::figure: return "figure";
    case Reach::Of::nothing: break;
  }
  return "nothing";
}

Json to_json(const Figure& figure) {
  return {{"who", figure.who}, {"median", median(figure.samples)}, {"samples", figure.samples}};
}

Json to_json(const Row& row) {
  Json json{{"id", row.id},
            {"what", row.what},
            {"unit", row.unit},
            {"better", row.better == Better::higher ? "higher" : "lower"},
            {"reach_of", name_of(row.reach.of)},
            {"reach", row.reach.limit},
            {"ours", to_json(row.ours)},
            {"peers", Json::array()},
            {"others_load", row.others_load},
            {"note", row.note}};
  for (const Figure& peer : row.peers) json["peers"].push_back(to_json(peer));
  if (const auto ratio = row.ratio()) json["ratio"] = *ratio;
  if (const auto reached = row.reached()) json["reached"] = *reached;
  return json;
}

Json to_json(const Line& line) {
  Json json{{"who", line.who}, {"unit", line.unit}, {"points", Json::array()}};
  for (const Point& point : line.points)
    json["points"].push_back({{"x", point.x}, {"median", median(point.samples)}, {"samples", point.samples}});
  return json;
}

Json to_json(const Curve& curve) {
  Json json{{"id", curve.id},         {"what", curve.what}, {"along", curve.along},
            {"lines", Json::array()}, {"note", curve.note}, {"others_load", curve.others_load}};
  for (const Line& line : curve.lines) json["lines"].push_back(to_json(line));
  return json;
}

}  // namespace

void write_json(const std::string& path, const Results& results) {
  Json all{{"machine", results.machine}, {"rows", Json::array()}, {"curves", Json::array()}};
  for (const Row& row : results.rows) all["rows"].push_back(to_json(row));
  for (const Curve& curve : results.curves) all["curves"].push_back(to_json(curve));
  std::ofstream file(path);
  file << all.dump(1) << '\n';
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace yoke::bench
