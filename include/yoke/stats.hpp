// What a pool can tell of itself: a snapshot, taken at the call.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace yoke {

enum class WorkerState {
  starting,  // launched, not yet ready
  idle,      // ready, no task
  busy,      // runs a task
  leaving    // takes no more tasks and ends
};

struct WorkerInfo {
  int pid = 0;
  int rank = 0;  // 0..max_workers-1, reused after a death
  WorkerState state = WorkerState::starting;
  std::string task;                 // name of the task it runs; empty: none
  std::chrono::nanoseconds age{0};  // of that task
  std::optional<std::chrono::nanoseconds> heartbeat_age;  // since the task last called this_worker::heartbeat()
  std::uint64_t memory = 0;         // bytes resident
  std::uint64_t tasks_done = 0;
};

struct Stats {
  std::uint64_t submitted = 0;
  std::uint64_t waiting = 0;    // not started
  std::uint64_t running = 0;
  std::uint64_t done = 0;       // returned a value
  std::uint64_t failed = 0;     // threw, lost its worker, or ran out of time
  std::uint64_t cancelled = 0;
  std::uint64_t retried = 0;    // times that a task was started again
  std::uint64_t deaths = 0;     // workers that ended unasked
  std::uint64_t started = 0;    // workers ever started
  std::vector<WorkerInfo> workers;
};

}  // namespace yoke
