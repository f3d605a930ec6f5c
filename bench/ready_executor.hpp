// An executor whose workers are all up and idle.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

#include "yoke/yoke.hpp"

namespace yoke::bench {

inline ProcessPoolExecutor make_ready_executor(int workers) {
  ProcessPoolExecutor executor(ExecutorOptions{.max_workers = workers, .spawn_eagerly = true});
  const auto is_idle = [](const WorkerInfo& worker) { return worker.state == WorkerState::idle; };
  while (std::ranges::count_if(executor.stats().workers, is_idle) < workers)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return executor;
}

}  // namespace yoke::bench
