// FutexPair: this process and a forked child that hand one word to and fro, both asleep in between: the least that two
// processes which sleep can take. One thread at a time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace yoke::bench {

class FutexPair {
 public:
  FutexPair();   // throws std::system_error
  ~FutexPair();  // ends the child
  FutexPair(const FutexPair&) = delete;
  FutexPair& operator=(const FutexPair&) = delete;
  void round_trip();

 private:
  struct Shared {
    alignas(64) std::atomic<std::uint32_t> ping{0};
    alignas(64) std::atomic<std::uint32_t> pong{0};
  };
  Shared* shared_;
  pid_t child_;
};

}  // namespace yoke::bench
