#include "lib/executor/end_of_program.hpp"

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/all_pools.hpp"

namespace yoke {
namespace {

/// In a fork too: of its own pools and its own callback thread.
struct EndOfProgram {
  ~EndOfProgram() {
    pool::shut_down_all_pools();
    drain_callbacks();
  }
};

}  // namespace

void finish_pools_at_exit() { static const EndOfProgram end_of_program; }

}  // namespace yoke
