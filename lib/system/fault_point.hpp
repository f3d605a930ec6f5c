// Fault points: the steps of the protocol between a pool and its workers at which a test can kill, crash or stop a
// worker, or scribble over what it has just written.
//
// A point is a line that expands to nothing, unless YOKE_FAULT_POINTS is defined: no build of the library defines it,
// the tests' own copy of the sources does, and brings pass_fault_point with it. What is to happen, at which passing of
// which worker, is the test's to say: see tests/support/faults.hpp.
#pragma once

#ifdef YOKE_FAULT_POINTS

// Each has a line in tests/fault_walk_test.cpp that says what a death there costs.
// clang-format off
#define YOKE_FAULT_POINTS_OF_A_WORKER(X)                                                              \
  X(bootstrap_taken) X(life_notice_held) X(identity_compared) X(lifeline_started)                     \
  X(crash_handler_installed) X(before_ready) X(after_ready)                                           \
  X(bell_armed) X(before_claim) X(after_claim) X(argument_memory_received) X(before_decode)           \
  X(before_publish) X(shared_memory_sent)                                                             \
  X(arena_taken) X(arena_written) X(memory_lent) X(memory_sent)                                       \
  X(result_placed) X(result_written) X(result_sequenced) X(result_rung) X(task_finished)              \
  X(stop_seen) X(before_exit)
// In the code of a test's task: its codec, its function, its destructors.
#define YOKE_FAULT_POINTS_OF_A_TASK(X) X(in_decode) X(in_function) X(in_encode) X(in_destructor)
// The parent is at the step; it is the worker concerned that is harmed, or another one where that one is not there.
#define YOKE_FAULT_POINTS_OF_A_PARENT(X)                                                              \
  X(before_launch) X(after_launch) X(launch_settled)                                                  \
  X(before_make_ready) X(after_make_ready) X(argument_memory_sent) X(after_dispatch)                  \
  X(before_fetch) X(after_fetch) X(after_resolve) X(before_revoke) X(after_revoke) X(asked_to_leave)  \
  X(before_burial) X(burial_collected) X(burial_group_ended) X(burial_requeued) X(burial_mourned)     \
  X(burial_task_lost) X(after_burial)
#define YOKE_EACH_FAULT_POINT(X) \
  YOKE_FAULT_POINTS_OF_A_WORKER(X) YOKE_FAULT_POINTS_OF_A_TASK(X) YOKE_FAULT_POINTS_OF_A_PARENT(X)
// clang-format on

namespace yoke::system {

#define YOKE_FAULT_POINT_NAME(name) name,
enum class FaultPoint : unsigned { YOKE_EACH_FAULT_POINT(YOKE_FAULT_POINT_NAME) count };
#undef YOKE_FAULT_POINT_NAME

/// In a worker.
void pass_fault_point(FaultPoint point) noexcept;
/// In a worker that writes to `scribbled`, which a fault may overwrite.
void pass_fault_point(FaultPoint point, void* scribbled) noexcept;
/// In the parent, about the worker with this pid; 0: about any worker.
void pass_fault_point(FaultPoint point, int worker_pid) noexcept;

}  // namespace yoke::system

#define YOKE_FAULT_POINT(point, ...) \
  ::yoke::system::pass_fault_point(::yoke::system::FaultPoint::point __VA_OPT__(, ) __VA_ARGS__)

#else
#define YOKE_FAULT_POINT(point, ...) static_cast<void>(0)
#endif
