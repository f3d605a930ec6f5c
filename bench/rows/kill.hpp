// A worker is killed in the middle of a task: S11 and its likes.
#pragma once

#include "bench/measure.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {

/// A pool of one worker that may be killed as often as we like.
ProcessPoolExecutor make_mortal_executor(int spare_workers = 0);

/// Milliseconds from SIGKILL until the task's future threw. The worker spins; with `megabytes` it holds so much memory.
/// `since`, where given, is started at the kill.
double milliseconds_to_error(ProcessPoolExecutor& executor, int megabytes = 0, Stopwatch* since = nullptr);

}  // namespace yoke::bench
