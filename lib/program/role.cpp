#include "lib/program/role.hpp"

#include "lib/system/modules.hpp"
#include "lib/worker/worker_process.hpp"
#include "yoke/process.hpp"

#ifdef YOKE_REMOTE
#include "lib/remote/agent.hpp"
#endif

namespace yoke {

void play_role() {
  system::note_program_is_ours();
  if (worker::start_pending()) worker::run();
#ifdef YOKE_REMOTE
  if (remote::agent_pending()) remote::run_agent();
#endif
}

void init(int&, char**&) { play_role(); }

}  // namespace yoke
