// What a fleet decides by numbers alone: pure functions of what is seen of its hosts.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>

#include "yoke/clock.hpp"

namespace yoke::remote {

/// A host, as far as it may be given tasks.
struct HostView {
  bool takes_tasks = false;
  bool same_build = false;  // as this program's
  int workers = 0;
  std::size_t tasks = 0;         // that it has
  std::size_t queued_bytes = 0;  // for it, not yet written
};

/// How many tasks a host gets: few ahead of its workers while they are long, so that the others stay free to go
/// elsewhere. `mean_task_ns`: 0: not known.
std::size_t window(double mean_task_ns, int workers);

/// Where a task goes: to the host whose workers have least to do, of those that have room. Empty: nowhere now.
/// `has_name`: hosts of other builds can run it.
std::optional<std::size_t> choose_host(std::span<const HostView> hosts, double mean_task_ns, bool has_name);

/// A host, as far as an agent may be started there.
struct StartView {
  enum class Phase { waiting, starting, neither } phase = Phase::neither;
  Clock::time_point at{};  // of one that waits: when it may be started; of one that starts: when that began
  int failures = 0;
};
struct NextStart {
  std::optional<std::size_t> host;  // now
  Clock::time_point at = Clock::time_point::max();  // if there is none: when to look again
};
/// Hosts that have failed least before others, and few at a time: servers turn bursts of connections away.
NextStart next_start(std::span<const StartView> hosts, Clock::time_point now);

}  // namespace yoke::remote
