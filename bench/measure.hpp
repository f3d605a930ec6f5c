// Measuring: clocks, medians and quantiles. Times are in seconds unless a name says otherwise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace yoke::bench {

/// How much a row may do. Quick: a look that fits into seconds, not figures to quote.
struct Effort {
  int repetitions = 7;
  bool quick = false;
  std::vector<std::string> host{};  // the command that runs one on another machine; empty: there is none
  /// `full` of something, or a tenth of it in a quick run.
  [[nodiscard]] int times(int full) const { return quick ? std::max(full / 10, 1) : full; }
};

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// The value below which the share `q` of the samples lies; 0 of no samples.
inline double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) return 0;
  const auto last = static_cast<double>(samples.size() - 1);
  const auto at = samples.begin() + static_cast<std::ptrdiff_t>(q * last + 0.5);
  std::nth_element(samples.begin(), at, samples.end());
  return *at;
}
/// Between what half of the samples lie; of three samples or fewer, all.
inline std::pair<double, double> spread(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::ranges::sort(samples);
  const std::size_t outside = (samples.size() - 1) / 4;
  return {samples[outside], samples[samples.size() - 1 - outside]};
}
inline double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

}  // namespace yoke::bench
