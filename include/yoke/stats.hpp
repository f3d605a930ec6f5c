// What a pool can tell of itself: a snapshot, taken at the call.
#pragma once

#include "yoke/language.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace yoke {

enum class WorkerState {
  starting,  // launched, not yet ready
  spare,     // ready, waits to take the place of one that died
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
  std::uint64_t deaths = 0;         // of workers with this rank, ended unasked
  std::string host;                 // that it runs on; empty: this machine
};

/// Workers that did not leave by being asked to, by what ended them.
struct DeathCounts {
  std::uint64_t crashed = 0;            // a signal of its own making: SIGSEGV, SIGABRT…
  std::uint64_t killed = 0;             // SIGKILL, SIGTERM and others from outside
  std::uint64_t exited = 0;             // a task or the initializer ended the process
  std::uint64_t out_of_memory = 0;      // the kernel killed it for want of memory
  std::uint64_t over_memory_limit = 0;  // above max_worker_memory
  std::uint64_t misbehaved = 0;         // never ready, stopped, replaced its program, or published what cannot be
  std::uint64_t timed_out = 0;          // its task ran out of time; as wanted, so not in Stats::deaths
  std::uint64_t cancelled = 0;          // by cancel(kill); as wanted, so not in Stats::deaths
};

/// At every moment submitted = waiting + running + done + failed + cancelled. An initializer is no task.
struct Stats {
  std::uint64_t submitted = 0;
  std::uint64_t waiting = 0;    // not started
  std::uint64_t running = 0;
  std::uint64_t done = 0;       // returned a value
  std::uint64_t failed = 0;     // threw, lost its worker, or ran out of time
  std::uint64_t cancelled = 0;
  std::uint64_t retried = 0;    // times that a task was started again
  std::uint64_t deaths = 0;     // workers that ended unasked
  DeathCounts deaths_by_cause;
  std::uint64_t started = 0;    // workers ever started
  std::vector<WorkerInfo> workers;
};

}  // namespace yoke
