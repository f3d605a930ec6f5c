#include "lib/executor/end_of_program.hpp"

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/all_pools.hpp"
#include "lib/system/fork_guard.hpp"

namespace yoke {
namespace {

struct EndOfProgram {
  const unsigned generation = system::fork_generation();
  ~EndOfProgram() {
    if (generation != system::fork_generation()) return;  // of a fork: neither pools nor threads are its own
    pool::shut_down_all_pools();
    drain_callbacks();
  }
};

}  // namespace

void finish_pools_at_exit() { static const EndOfProgram end_of_program; }

}  // namespace yoke
