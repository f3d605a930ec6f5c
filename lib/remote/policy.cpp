#include "lib/remote/policy.hpp"

#include <algorithm>

namespace yoke::remote {
namespace {

constexpr double ahead_ns = 10e6;    // of work that a worker has waiting for it on its host
constexpr double most_ahead = 4096;  // tasks
constexpr std::size_t most_queued_bytes = std::size_t{8} << 20;  // then a host gets no more until some are written

// Servers turn away bursts of connections that have not logged in (MaxStartups of sshd is 10). One that takes longer
// than this has logged in, or hangs, and holds up nobody.
constexpr int most_young_starts = 8;
constexpr std::chrono::milliseconds youth{1'000};

double load(const HostView& host) { return static_cast<double>(host.tasks) / host.workers; }

bool has_room(const HostView& host, double mean_task_ns) {
  return host.takes_tasks && host.tasks < window(mean_task_ns, host.workers) && host.queued_bytes < most_queued_bytes;
}

}  // namespace

std::size_t window(double mean_task_ns, int workers) {
  const double ahead = mean_task_ns == 0 ? 0 : std::min(ahead_ns / mean_task_ns, most_ahead);
  return static_cast<std::size_t>(workers) * (1 + static_cast<std::size_t>(ahead));
}

std::optional<std::size_t> choose_host(std::span<const HostView> hosts, double mean_task_ns, bool has_name) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (!has_room(hosts[i], mean_task_ns) || (!hosts[i].same_build && !has_name)) continue;
    if (!best || load(hosts[i]) < load(hosts[*best])) best = i;
  }
  return best;
}

NextStart next_start(std::span<const StartView> hosts, Clock::time_point now) {
  NextStart next;
  int young = 0;
  auto oldest = now;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const StartView& host = hosts[i];
    if (host.phase == StartView::Phase::starting && now - host.at < youth) {
      ++young;
      oldest = std::min(oldest, host.at);
    } else if (host.phase == StartView::Phase::waiting && now < host.at) {
      next.at = std::min(next.at, host.at);
    } else if (host.phase == StartView::Phase::waiting && (!next.host || host.failures < hosts[*next.host].failures)) {
      next.host = i;
    }
  }
  if (next.host && young >= most_young_starts) {
    next.host.reset();
    next.at = std::min(next.at, oldest + youth);
  }
  return next;
}

}  // namespace yoke::remote
