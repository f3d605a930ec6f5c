// The thread that runs what users attach to futures: done callbacks, coroutines.
//
// One for the process, started when first needed. Runs jobs in the order in which they came, with no lock of the
// library held. At exit it finishes what there is.
#pragma once

#include <exception>
#include <functional>

namespace yoke {

/// Runs `job` on the callback thread; what it throws goes to the error handler. Any thread; never waits for a job.
void post_callback(std::function<void()> job);

/// Gives an exception to the user's error handler.
void report_error(std::exception_ptr error) noexcept;

/// Returns when all jobs posted so far have run; at once on the callback thread itself.
void drain_callbacks();

}  // namespace yoke
