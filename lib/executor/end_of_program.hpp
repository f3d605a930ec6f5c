// What happens to pools and callbacks when the program ends.
#pragma once

namespace yoke {

/// At the end of the program, from now on: pools that nobody shut down finish their work, and callbacks run.
void finish_pools_at_exit();

}  // namespace yoke
