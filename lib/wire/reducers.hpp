// Reducers across processes: each is known by an id, which the process that made it gives, and which its workers are
// told before their first task together with a reference to the reducer.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "lib/wire/function_table.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/reducers.hpp"

namespace yoke::wire {

/// What a worker is to know of its pool's reducers: a whole number of 16-byte units. Throws yoke::Error.
void describe_reducers(PackBuffer& out, const Reducers& jobs, const Reducers& results);
/// The references to code that the description holds.
std::vector<FunctionReference> references_of(const Reducers& reducers);

/// The worker's half: takes the description off the front of `message`, learns the reducers, and returns those of
/// results. `resolve` finds the code behind a reference. Throws yoke::Error.
Reducers learn_reducers(std::span<const std::byte>& message,
                        const std::function<const void*(FunctionReference)>& resolve);

}  // namespace yoke::wire
