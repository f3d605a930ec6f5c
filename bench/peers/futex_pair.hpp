// FutexPair: this process and a forked child that hand one word to and fro, both asleep in between: the least that two
// processes which sleep can take. One thread at a time: the one that made it, which `apart` binds to one processor, and
// the child to another, until the pair is gone.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace yoke::bench {

class FutexPair {
 public:
  enum class Placement {
    free,  // where the kernel puts them: often on one processor, where waking costs a switch and no interrupt
    apart  // on two processors
  };
  explicit FutexPair(Placement placement);  // throws std::system_error
  ~FutexPair();  // ends the child
  FutexPair(const FutexPair&) = delete;
  FutexPair& operator=(const FutexPair&) = delete;
  void round_trip();

 private:
  struct Shared {
    alignas(64) std::atomic<std::uint32_t> ping{0};
    alignas(64) std::atomic<std::uint32_t> pong{0};
  };
  void separate();

  cpu_set_t allowed_;  // of this thread, before
  Shared* shared_;
  pid_t child_;
};

}  // namespace yoke::bench
