// What a fork takes along, and what it does not: it has its parent's memory, but of the threads only the one that
// forked.
//
// The locks that are one for the whole process are in one table, in the order in which they are taken. Whoever forks
// holds all of them meanwhile, so that in the child they are free and what they guard is whole. They are made when the
// library is loaded, as a fork may come at any time after. What belongs to one pool is not in the table: a fork never
// touches its parent's pools (Pool::in_other_process) and never destroys them (pool/all_pools.hpp).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <mutex>

namespace yoke::system {

/// Differs between a process and what was forked from it, by fork() or by the bare system call. No system call itself.
unsigned fork_generation() noexcept;
/// Where that is remembered: 0 in a fork that has not been asked yet.
const std::atomic<unsigned>& fork_generation_word() noexcept;
/// getpid() without a system call.
pid_t own_pid() noexcept;

/// The order in which the locks of the whole process are taken: of two that a thread holds at once, the earlier one
/// first.
enum class ForkOrder : unsigned char {
  reusable_executor,
  all_pools,
  shared_memory,
  continuations,
  callbacks,
  hand_over,
  error_handler,
  named_tasks,
  exceptions,
  reducers,
  functions,
  own_program,
  environment,
  symbols,
  warm_memory,
  blocks,
  keepers,
  modules
};

/// ThreadSanitizer stops a program whose thread holds more than 64 locks: a fork may take so many of them.
inline constexpr std::size_t most_held_over_forks = 44;

/// From now on the lock is held while the process forks. `in_child` then puts right in the child, before the lock is
/// free there, what has to do with threads that are not in it.
void hold_over_forks(ForkOrder order, std::mutex& lock, void (*in_child)() = nullptr);
void hold_over_forks(ForkOrder order, std::recursive_mutex& lock);

/// A T for the whole process, whose member `mutex` guards it; never destroyed, since static objects may use it to the
/// end.
template <class T>
T* make_process_wide(ForkOrder order) {
  auto* const made = new T;
  hold_over_forks(order, made->mutex);
  return made;
}

}  // namespace yoke::system
