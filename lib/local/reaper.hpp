// Reaper: the processes of workers that have ended, or were given up, until the kernel has let go of them. One thread
// at a time (the pool's lock).
#pragma once

#include <optional>
#include <vector>

#include "lib/system/process_handle.hpp"
#include "yoke/clock.hpp"

namespace yoke::local {

class Reaper {
 public:
  enum class End {
    dead,  // only its memory, or what it has started, is still to go
    writes_core,  // what it has started ends when its core file is written
    given_up  // it could not be ended, and nobody waits for it
  };
  void take(system::ProcessHandle process, End end, Clock::time_point now);
  /// Reaps who can be reaped. `at_once`: a core file is not waited for.
  void reap(Clock::time_point now, bool at_once);

  /// The pool's end waits for one of them.
  bool is_awaited(Clock::time_point now) const;
  /// When to look again; empty: there is none.
  std::optional<Clock::time_point> next_look(Clock::time_point now) const;

 private:
  struct Ended {
    system::ProcessHandle process;
    std::optional<Clock::time_point> group_ends_at;  // at the latest: empty, if it was ended
    Clock::time_point awaited_until;
  };
  std::vector<Ended> ended_;
};

}  // namespace yoke::local
