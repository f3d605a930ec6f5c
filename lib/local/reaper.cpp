#include "lib/local/reaper.hpp"

#include <signal.h>

#include <algorithm>
#include <utility>

namespace yoke::local {
namespace {

constexpr std::chrono::seconds core_patience{60};  // for a core file
constexpr std::chrono::seconds end_patience{60};   // for memory that is given back, or a kernel that is busy
constexpr std::chrono::milliseconds soon{2};       // between looks at those that somebody waits for
constexpr std::chrono::milliseconds later{100};    // at others

}  // namespace

void Reaper::take(system::ProcessHandle process, End end, Clock::time_point now) {
  const auto group_ends_at = end == End::writes_core ? std::optional(now + core_patience) : std::nullopt;
  ended_.push_back({std::move(process), group_ends_at, end == End::given_up ? now : now + end_patience});
}

void Reaper::reap(Clock::time_point now, bool at_once) {
  std::erase_if(ended_, [&](Ended& one) {
    if (one.group_ends_at && (at_once || one.process.can_be_reaped() || now >= *one.group_ends_at)) {
      one.process.signal_group(SIGKILL);
      one.group_ends_at.reset();
    }
    return one.process.try_reap() && one.process.try_reap_group();
  });
}

bool Reaper::is_awaited(Clock::time_point now) const {
  return std::ranges::any_of(ended_, [now](const Ended& one) { return now < one.awaited_until; });
}

std::optional<Clock::time_point> Reaper::next_look(Clock::time_point now) const {
  if (ended_.empty()) return {};
  return now + (is_awaited(now) ? soon : later);
}

}  // namespace yoke::local
