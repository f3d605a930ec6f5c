// The worker's loop: take a task, run its trampoline, publish what came of it.
#pragma once

#include "lib/channel/worker_channel.hpp"

namespace yoke::worker {

/// Returns when the parent has asked to stop.
void run_tasks(channel::WorkerChannel& channel);

}  // namespace yoke::worker
