// WorkerLife: the state of a worker as its pool knows it, and why it was killed. No clock, no process.
//
//   starting ──ready──> initializing ──initialized──> serving        of a reserve: spare, which promote() makes serving
//       └──ready, without an initializer──────────────^
//
//   starting, initializing, spare, serving ──retire──> retiring      finishes what it has, then ends
//   all of these and retiring ──kill──> killing                      its unstarted tasks were taken back
//   any ──end──> ended
//
// A worker that is not yet ready takes tasks, which wait for it. What it was asked to do while it starts, it may do
// before it is ready: whether its start is over is a fact of its own, and stays one.
#pragma once

#include <string>
#include <utility>

#include "lib/local/kill_reason.hpp"
#include "lib/system/assert.hpp"

namespace yoke::local {

class WorkerLife {
 public:
  enum class State { starting, initializing, spare, serving, retiring, killing, ended };

  /// `reserve`: it gets no tasks until it takes the place of another.
  explicit WorkerLife(bool reserve) noexcept : reserve_(reserve) {}

  State state() const noexcept { return state_; }
  bool is_ready() const noexcept { return ready_; }  // its start is over, its initializer may still run
  bool is_reserve() const noexcept { return reserve_; }
  bool is_retiring() const noexcept { return state_ == State::retiring; }
  bool is_killed() const noexcept { return state_ == State::killing; }
  /// Neither asked to leave nor killed.
  bool is_in_service() const noexcept { return state_ < State::retiring; }
  bool takes_tasks() const noexcept { return is_in_service() && !reserve_; }
  KillReason kill_reason() const noexcept { return reason_; }
  const std::string& kill_text() const noexcept { return text_; }  // for the death report; may be empty

  void ready(bool initializes) noexcept {
    YOKE_ASSERT(!ready_ && state_ != State::ended);
    ready_ = true;
    if (state_ == State::starting) state_ = initializes ? State::initializing : settled();
  }
  /// May come before ready(): whoever collects results sees the initializer's first.
  void initialized() noexcept {
    if (state_ == State::initializing) state_ = settled();
  }
  void promote() noexcept {
    YOKE_ASSERT(state_ == State::spare);
    reserve_ = false;
    state_ = State::serving;
  }
  /// False if it leaves already, or is killed.
  bool retire() noexcept {
    if (!is_in_service()) return false;
    state_ = State::retiring;
    return true;
  }
  /// False if it is killed already: the first reason stays.
  bool kill(KillReason reason, std::string text) noexcept {
    YOKE_ASSERT(reason != KillReason::none && state_ != State::ended);
    if (is_killed()) return false;
    state_ = State::killing;
    reason_ = reason;
    text_ = std::move(text);
    return true;
  }
  void end() noexcept {
    YOKE_ASSERT(state_ != State::ended);
    state_ = State::ended;
  }

 private:
  State settled() const noexcept { return reserve_ ? State::spare : State::serving; }

  State state_ = State::starting;
  bool reserve_;
  bool ready_ = false;
  KillReason reason_ = KillReason::none;
  std::string text_;
};

}  // namespace yoke::local
