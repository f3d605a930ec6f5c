// RunTimes: how long tasks run of late, by which a pool tells short ones from long ones. One thread at a time.
#pragma once

#include <algorithm>

namespace yoke::pool {

class RunTimes {
 public:
  /// A task has run so long. A long one among short ones says little of the others, and counts for some of the mean
  /// only.
  void add(double ns) noexcept {
    mean_ns_ += mean_ns_ <= 0 ? ns : (std::min(ns, most_of_mean * mean_ns_) - mean_ns_) * weight_of_latest;
  }
  /// One runs for so long already, and is not done: what was known of the mean is wrong now.
  void raise_to(double ns) noexcept { mean_ns_ = std::max(mean_ns_, ns); }

  bool known() const noexcept { return mean_ns_ > 0; }
  double mean_ns() const noexcept { return mean_ns_; }  // 0: unknown

 private:
  static constexpr double weight_of_latest = 1.0 / 8;
  static constexpr double most_of_mean = 4;

  double mean_ns_ = 0;
};

}  // namespace yoke::pool
