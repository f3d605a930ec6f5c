// How far `yoke map` has come: a bar on a terminal, a line now and then elsewhere.
//
// Writes to stderr, and only when asked: it never sleeps. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace yoke::tools {

class Progress {
 public:
  enum class When { never, on_terminal, always };
  using Clock = std::chrono::steady_clock;

  struct Count {
    std::uint64_t done = 0;  // failed ones included
    std::uint64_t failed = 0;
    std::optional<std::uint64_t> total;
    std::uint64_t deaths = 0;
  };

  explicit Progress(When when);
  ~Progress() { wipe(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// When something may be shown again; empty: never.
  std::optional<Clock::time_point> next() const;
  /// Call it at that time.
  void show(const Count& count);
  /// Removes the bar, before anything else is printed on the terminal.
  void wipe();

 private:
  enum class Style { none, bar, lines };
  Style style_;
  Clock::time_point begin_;
  Clock::time_point last_;
  bool visible_ = false;
};

/// "123 of 456 done, 2 failed, 1 worker died, 34.5/s, 0:12 left", no wider than `width` columns, with a bar in front
/// where there is room and the total is known.
std::string progress_text(const Progress::Count& count, std::chrono::duration<double> elapsed, std::size_t width);

}  // namespace yoke::tools
