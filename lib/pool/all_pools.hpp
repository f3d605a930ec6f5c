// Every pool of this process that is not finished, for the end of the program.
#pragma once

#include <memory>

#include "yoke/pool.hpp"

namespace yoke::pool {

/// Any thread.
void remember_pool(const std::shared_ptr<Pool>& pool);
/// Pools that nobody shut down finish their work. Returns when they have.
void shut_down_all_pools();

}  // namespace yoke::pool
