// The worker process: what the program becomes when a pool has started it.
#pragma once

namespace yoke::worker {

/// True if this process was started as a worker and has not begun to be one: the bootstrap is still in the environment.
bool start_pending() noexcept;

/// Begins: takes the bootstrap out of the environment, runs tasks until the parent asks to stop, exits. Does not
/// return.
[[noreturn]] void run();

/// In the environment of a worker until run() begins: the descriptors of segment, control socket and parent's life
/// notice, separated by commas.
inline constexpr char bootstrap_variable[] = "YOKE_WORKER";

/// Number of the exit code of a worker that could not start; its reason is in the black box.
inline constexpr int exit_start_failed = 71;
/// The same for want of something that the system may have later: a thread, memory, descriptors.
inline constexpr int exit_start_lacks = 75;

}  // namespace yoke::worker
