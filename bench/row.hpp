// Row: one line of the table of figures, with the samples that it stands on.
//
// A row measures the library and its peers in turns, repetition by repetition, so that what else the machine does hits
// all of them alike. The median counts.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/measure.hpp"

namespace yoke::bench {

enum class Better { higher, lower };

struct Figure {
  std::string who{};
  std::vector<double> samples{};  // in the row's unit
};

/// What a row is measured against: the ratio to a peer, or the figure itself; or nothing, where no goal names the row.
struct Reach {
  enum class Of { ratio, figure, nothing } of = Of::nothing;
  double limit = 0;
};

struct Row {
  std::string id{};
  std::string what{};
  std::string unit{};
  Better better = Better::lower;
  Reach reach{};
  Figure ours{"yoke", {}};
  std::vector<Figure> peers{};
  std::string judged_by{};   // the peer that the goal names; empty: the best one
  std::string note{};        // a further figure that the goal names
  double others_load = 0;    // share of the machine that other programs used meanwhile, 0 to 1

  /// The one that counts; null if it was not built in.
  [[nodiscard]] const Figure* peer() const {
    const Figure* best = nullptr;
    for (const Figure& peer : peers) {
      if (peer.samples.empty() || (!judged_by.empty() && peer.who != judged_by)) continue;
      const double mine = median(peer.samples);
      if (!best || (better == Better::higher ? mine > median(best->samples) : mine < median(best->samples)))
        best = &peer;
    }
    return best;
  }
  [[nodiscard]] std::optional<double> ratio() const {
    const Figure* other = peer();
    if (!other || ours.samples.empty() || median(other->samples) == 0) return std::nullopt;
    return median(ours.samples) / median(other->samples);
  }
  /// Empty where there is nothing to judge by: no peer was built in.
  [[nodiscard]] std::optional<bool> reached() const {
    if (ours.samples.empty() || reach.of == Reach::Of::nothing) return std::nullopt;
    const auto value = reach.of == Reach::Of::figure ? std::optional(median(ours.samples)) : ratio();
    if (!value) return std::nullopt;
    return better == Better::higher ? *value >= reach.limit : *value <= reach.limit;
  }
};

/// Something that can be measured: what it is called in docs/ and on the command line, and how.
template <class Result>
struct MeasurementOf {
  const char* id;
  Result (*measure)(const Effort&);
  bool in_quick_run = true;
};
using Measurement = MeasurementOf<Row>;

/// A measurement needs what is not on this machine; what() says what. No failure.
struct NotToBeHad : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// rows/*.cpp.
std::vector<Measurement> throughput_rows();
std::vector<Measurement> round_trip_rows();
std::vector<Measurement> map_rows();
std::vector<Measurement> large_argument_rows();
std::vector<Measurement> shared_array_rows();
std::vector<Measurement> start_rows();
std::vector<Measurement> death_rows();
std::vector<Measurement> idle_rows();
std::vector<Measurement> python_rows();
std::vector<Measurement> latency_rows();
std::vector<Measurement> cost_per_byte_rows();
std::vector<Measurement> mixed_load_rows();
std::vector<Measurement> memory_rows();
std::vector<Measurement> remote_rows();
/// A few of all this, quick, against the naive way: for `--guard` alone.
std::vector<Measurement> guard_rows();

}  // namespace yoke::bench
