// A life notice: a word in shared memory by which the kernel tells that a thread has ended, before the process's memory
// is torn down: the futex of a robust mutex that the thread holds from its start to its end.
//
// It is a notice and not a lock: nobody else ever locks it. Whoever can write to the memory can fake it, so a reader
// confirms a death by other means (ProcessHandle::dying_or_dead).
#pragma once

#include <pthread.h>

#include "lib/system/futex.hpp"

namespace yoke::system {

/// The calling thread holds the notice from now on. The memory must be zero, shared, and stay mapped until the thread
/// ends or retracts it. Throws std::system_error.
void hold_life_notice(pthread_mutex_t& notice);

/// The thread that holds it lets it go, without telling anyone.
void retract_life_notice(pthread_mutex_t& notice) noexcept;

/// The word to sleep on, and what it says.
const Word& life_word(const pthread_mutex_t& notice) noexcept;
bool life_ended(std::uint32_t word) noexcept;  // the holder has ended
bool life_started(std::uint32_t word) noexcept;  // someone holds, or held, the notice

}  // namespace yoke::system
