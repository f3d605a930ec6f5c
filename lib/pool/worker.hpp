// Worker: the pool's books about one worker process. Guarded by the pool's lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

#include "lib/channel/parent_channel.hpp"
#include "lib/pool/progress.hpp"
#include "lib/system/process_handle.hpp"
#include "yoke/pool.hpp"

namespace yoke::pool {

enum class WorkerMode {
  serving,  // takes tasks
  leaving,  // finishes what it has, then ends; asked to
  doomed    // being killed; its unstarted tasks were taken back
};

/// Why a worker is being killed.
enum class Doom {
  none,
  wanted,       // the pool ends
  cancelled,    // cancel(kill) of its task
  timed_out,    // its task ran out of time, and may be tried again
  over_memory,  // above max_worker_memory: counts as a death
  not_started,  // it was not ready within start_timeout: breaks the pool
  misbehaved    // it is no worker any more, or cannot be trusted: counts as a death
};

struct Worker {
  Worker(int rank_, int depth, const system::ModuleIdentity& program) : rank(rank_), channel(rank_, depth, program) {}

  int rank;
  bool spare = false;                        // gets no tasks until it takes the place of another
  WorkerMode mode = WorkerMode::serving;
  channel::ParentChannel channel;
  system::ProcessHandle process;
  TaskPtr initializer;                       // until it has run
  std::uint64_t given = 0;                   // tasks ever given
  std::uint64_t given_before = 0;            // of those, when spinning was last tuned
  bool watched = false;                      // the sleeping watchdog hears its doorbell
  std::uint64_t done = 0;                    // tasks whose results were collected
  Clock::time_point started_at{};            // when its process was launched
  Clock::time_point idle_since{};            // when it had nothing to do
  std::optional<Clock::time_point> kill_at;  // when SIGTERM, or asking, has had its time
  std::optional<Clock::time_point> look_at;  // when the time of a task that it has may be over
  Progress progress;
  struct {
    std::uint64_t position = 0;  // + 1, of the chunk with a time limit
    std::uint64_t done = 0;      // its items
    Clock::time_point since{};   // when they were first seen
  } seen_item;                               // at the last look at the time
  Doom doom = Doom::none;
  std::string doom_reason;                   // for the death report
  TaskPtr blamed;  // taken back from it, and lost with it all the same: see take_back_first
  std::error_code cannot_be_killed;  // what the kernel answered to SIGKILL
  std::optional<Clock::time_point> give_up_at;  // it was killed, and may not end
  bool was_ready = false;  // its start is over
  bool told_ready = false;  // to the observer
  std::uint64_t told_started = 0;  // position + 1 of the last task of which the observer was told
  std::optional<Clock::time_point> unclear_since;  // it has ended, or does, and the kernel does not show how yet
  std::optional<Clock::time_point> noticed_at;  // its life notice changed, but it has not ended yet
  bool hangs = false;  // it does not begin what it has: its start, or a destructor, takes long
  bool full = false;  // takes no more until something of what it has is done or taken back
  bool slow = false;  // its task runs long: tasks were taken back from behind it
  bool seen_stopped = false;  // by a stop signal, at the last roll call, with a task not begun
  std::uint32_t life = 0;  // the life word as it is while the worker lives; known once it was ready

  std::size_t outstanding() const { return channel.outstanding(); }
  bool idle() const { return outstanding() == 0; }
  /// It has tasks and is not about to begin one, nor to end one.
  bool holds_up_tasks() const { return (!was_ready || hangs) && outstanding() > (initializer ? 1U : 0U); }
  bool takes_tasks() const { return mode == WorkerMode::serving && !spare; }
  /// It takes tasks or has some. One that leaves with nothing to do is as good as gone, and so is one that is killed.
  bool on_staff() const { return takes_tasks() || (mode == WorkerMode::leaving && !idle()); }
};

}  // namespace yoke::pool
