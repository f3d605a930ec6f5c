// Worker: the pool's books about one worker process. Guarded by the pool's lock.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/channel/parent_channel.hpp"
#include "lib/system/process_handle.hpp"
#include "yoke/pool.hpp"

namespace yoke::pool {

enum class WorkerMode {
  serving,  // takes tasks
  leaving,  // finishes what it has, then ends; asked to
  doomed    // being killed; its unstarted tasks were taken back
};

struct Worker {
  Worker(int rank_, int depth, const system::ModuleIdentity& program) : rank(rank_), channel(rank_, depth, program) {}

  const int rank;
  WorkerMode mode = WorkerMode::serving;
  channel::ParentChannel channel;
  system::ProcessHandle process;
  TaskPtr initializer;                       // until it has run
  std::uint64_t given = 0;                   // tasks ever given
  std::uint64_t given_before = 0;            // of those, when spinning was last tuned
  std::uint64_t done = 0;                    // tasks whose results were collected
  Clock::time_point idle_since{};            // when it had nothing to do
  std::optional<Clock::time_point> kill_at;  // when SIGTERM, or asking, has had its time
  bool misbehaved = false;                   // doomed not for what its task or the caller wanted: counts as a death
  bool timed_out = false;                    // doomed because its task ran out of time, which may be tried again
  bool was_ready = false;                    // it has told so
  std::optional<Clock::time_point> noticed_at;  // its life notice changed, but it has not ended yet
  bool seen_stopped = false;                 // by a stop signal, at the last roll call, with a task not begun
  std::uint32_t life = 0;                    // the life word as it is while the worker lives; 0: not yet known

  std::size_t outstanding() const { return channel.outstanding(); }
  bool idle() const { return outstanding() == 0; }
};

}  // namespace yoke::pool
