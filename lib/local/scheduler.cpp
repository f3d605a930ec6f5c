#include "lib/local/scheduler.hpp"

namespace yoke::local::scheduler {
namespace {

constexpr double ahead_ns = 50'000;          // work that a worker is given at once
constexpr double most_ahead_ns = 2'000'000;  // the same, while more waits than all could be given
constexpr double handling_ns = 400;          // what a task costs this process, about

}  // namespace

std::size_t depth(const Load& load, std::size_t most) {
  if (load.mean_task_ns <= 0) return 1;
  double ns = ahead_ns;
  // A share of what waits that leaves as much to come: so nobody has much left when the others are through.
  const double waiting_ns = static_cast<double>(load.waiting) * load.mean_task_ns;
  const double shares = 2.0 * static_cast<double>(load.workers + 1);
  if (waiting_ns > ns * shares) ns = std::min(most_ahead_ns, waiting_ns / shares);
  if (ns < 2 * load.mean_task_ns) return 1;
  return ns < static_cast<double>(most) * load.mean_task_ns ? static_cast<std::size_t>(ns / load.mean_task_ns) : most;
}

std::size_t most_awake(const Load& load) {
  return load.mean_task_ns <= 0 ? load.workers : 1 + static_cast<std::size_t>(load.mean_task_ns / handling_ns);
}

}  // namespace yoke::local::scheduler
