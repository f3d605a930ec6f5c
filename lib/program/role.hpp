// The role of this process: the program itself, or what another process started it as.
#pragma once

namespace yoke {

/// Where main begins. Returns in the program itself; a worker and an agent do their work instead, and exit.
void play_role();

}  // namespace yoke
