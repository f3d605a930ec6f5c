// Memory: workers that use more of their own than the options allow.
//
// A task that balloons is killed by the watchdog, which looks as often as a worker could come above the limit. A worker
// that leaks says so itself between two tasks, when what a task needed is given back, and is asked to leave.
#include <fmt/format.h>

#include <algorithm>

#include "lib/local/local_pool.hpp"
#include "lib/system/process_memory.hpp"

namespace yoke::local {
namespace {

constexpr double fastest_growth = 4e9;  // bytes a second of fresh memory: about twice what one core fills
constexpr std::chrono::milliseconds shortest_pause{2};
constexpr std::chrono::milliseconds longest_pause{100};

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

}  // namespace

/// Kills workers above max_worker_memory in the middle of a task.
void LocalPool::check_memory(Clock::time_point now) {
  if (!options_.max_worker_memory || now < next_memory_look_) return;
  const std::uint64_t limit = *options_.max_worker_memory;
  Clock::duration pause = longest_pause;
  for (const auto& worker : roster_) {
    if (worker->is_killed()) continue;
    const std::uint64_t used = system::memory_with_descendants(worker->pid());
    if (used > limit) {
      kill(*worker, KillReason::over_memory,
           fmt::format("it used {} of memory, more than max_worker_memory allows ({}), and was killed", megabytes(used),
                       megabytes(limit)));
      continue;
    }
    const std::chrono::duration<double> room(static_cast<double>(limit - used) / fastest_growth);
    pause = std::min(pause, std::chrono::duration_cast<Clock::duration>(room));
  }
  next_memory_look_ = now + std::max<Clock::duration>(pause, shortest_pause);
}

}  // namespace yoke::local
