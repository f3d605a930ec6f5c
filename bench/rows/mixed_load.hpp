// One long task in a hundred short ones.
#pragma once

#include <vector>

namespace yoke::bench {

/// The arguments of the tasks, in an order drawn once for all.
std::vector<int> mixed_values(int count, int of_short, int of_long);

}  // namespace yoke::bench
