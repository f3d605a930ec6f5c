// RunTimes: how long tasks run of late, by which a pool tells short ones from long ones. One thread at a time.
#pragma once

#include <algorithm>

namespace yoke::pool {

class RunTimes {
 public:
  /// What a task counts for that ran far longer than those before it.
  enum class Outlier {
    cut,   // for some of the mean only: one says little of the others, and who waits behind it is seen otherwise
    whole  // nobody sees otherwise that it runs long: what it tells must be known at once
  };
  explicit RunTimes(Outlier outlier = Outlier::cut) noexcept : outlier_(outlier) {}

  /// A task has run so long.
  void add(double ns) noexcept {
    if (outlier_ == Outlier::cut && known()) ns = std::min(ns, most_of_mean * mean_ns_);
    mean_ns_ += (ns - mean_ns_) * (known() ? weight_of_latest : 1);
  }
  /// One runs for so long already, and is not done: what was known of the mean is wrong now.
  void raise_to(double ns) noexcept { mean_ns_ = std::max(mean_ns_, ns); }

  bool known() const noexcept { return mean_ns_ > 0; }
  double mean_ns() const noexcept { return mean_ns_; }  // 0: unknown

 private:
  static constexpr double weight_of_latest = 1.0 / 8;
  static constexpr double most_of_mean = 4;

  Outlier outlier_;
  double mean_ns_ = 0;
};

}  // namespace yoke::pool
