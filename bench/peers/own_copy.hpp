// Copies of this very program, started with posix_spawn: one that exits at once, one that stays idle.
#pragma once

#include <sys/types.h>

namespace yoke::bench {

/// What the program does instead of measuring, if its first argument says so; returns otherwise.
void act_as_copy(int argc, char** argv);

/// Starts a copy that exits in the first line of main, and waits for it. Returns seconds.
double seconds_of_exiting_copy();

class IdleCopy {
 public:
  IdleCopy();   // returns when the copy has reached its main
  ~IdleCopy();  // ends it
  IdleCopy(const IdleCopy&) = delete;
  IdleCopy& operator=(const IdleCopy&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

}  // namespace yoke::bench
