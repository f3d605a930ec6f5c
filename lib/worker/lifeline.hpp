// The lifeline: a thread of the worker that waits for the parent's death, or for its word, and then ends the worker, at
// once and in the middle of a task, with everything in its process group.
#pragma once

#include <pthread.h>

#include <array>

#include "lib/system/fork_guard.hpp"
#include "lib/system/futex.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::worker {

/// Life notices of the parent's watchdog thread. For each the kernel wakes one sleeper alone, which may be stopped or
/// dying itself: so workers with different ranks sleep on different ones, as far as they go. One thread holds them all,
/// and forks besides.
using ParentLife = std::array<pthread_mutex_t, 16>;
static_assert(std::tuple_size_v<ParentLife> + system::most_held_over_forks < 64);

/// `parent_life`: a memfd with a ParentLife. `end`: not 0 once the parent wants the process to end; it wakes who sleeps
/// on its notices then, again and again. Throws std::system_error.
void start_lifeline(system::UniqueFd parent_life, int rank, const system::Word& end);

/// By the main thread, now and then: the lifeline shall run where it runs. Of a killed worker it is the last to go, and
/// gives the memory back, gigabytes perhaps; elsewhere it would do so in the way of the watchdog that it woke together
/// with.
void lifeline_follows() noexcept;

}  // namespace yoke::worker
