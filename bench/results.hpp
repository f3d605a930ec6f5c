// Results: all that one run has measured, for the file that keeps it.
#pragma once

#include <string>
#include <vector>

#include "bench/curve.hpp"
#include "bench/row.hpp"

namespace yoke::bench {

struct Results {
  std::string machine;
  std::vector<Row> rows{};
  std::vector<Curve> curves{};
};

/// As JSON, with all samples: what bench/plot.py draws from. Throws std::runtime_error when the file cannot be written.
void write_json(const std::string& path, const Results& results);

}  // namespace yoke::bench
