// The thread that runs what users attach to futures: done callbacks, coroutines. And one that hands results over to
// std::futures, for which a callback may wait.
//
// One of each for the process, started when first needed. Runs jobs in the order in which they came, with no lock of
// the library held. At exit it finishes what there is.
#pragma once

#include <exception>
#include <functional>

namespace yoke {

/// Runs `job` on the callback thread; what it throws goes to the error handler. Any thread; never waits for a job.
/// Where no thread can be started (too many of this user's) the job stays, and runs once one can.
void post_callback(std::function<void()> job);

/// The same on the other thread: neither waits for anything.
void post_hand_over(std::function<void()> job);

/// Throws std::system_error where the callback thread does not run and cannot be started: so that who attaches a
/// callback is told at once.
void require_callback_thread();
void require_hand_over_thread();  // the same, of the other

/// Gives an exception to the user's error handler. By default it is printed, after what happened.
void report_error(std::exception_ptr error, const char* what_happened = "a callback of a future threw") noexcept;

/// Returns when all jobs posted so far have run; at once on the thread that runs them.
void drain_callbacks();

}  // namespace yoke
