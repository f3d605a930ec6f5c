// Every pool of this process: for the end of the program, and for forks. A fork has its parent's pools as they were in
// the middle of what other threads did with them: it keeps each for ever, so that none is destroyed there.
#pragma once

#include <memory>

#include "yoke/pool.hpp"

namespace yoke::pool {

enum class AtEnd { finish, leave };

/// Any thread.
void remember_pool(const std::shared_ptr<Pool>& pool, AtEnd at_end = AtEnd::finish);
/// Pools of this process that nobody shut down finish their work. Returns when they have.
void shut_down_all_pools();

}  // namespace yoke::pool
