// Admission: whether a pool still takes tasks, and what it says where it does not.
//
//   open ──close──> draining ──kill──> killing        (kill from open too)
//
// and in each of these a pool may break, once and for good. A broken pool has still to be shut down, so that it says of
// both what they are. One thread at a time (the pool's lock).
#pragma once

#include <memory>

#include "yoke/pool.hpp"

namespace yoke::pool {

class Admission {
 public:
  enum class State {
    open,  // takes tasks
    draining,  // shutdown: finishes what it has
    killing  // shutdown with kill_workers: has failed what it had
  };

  State state() const noexcept { return state_; }
  bool closed() const noexcept { return state_ != State::open; }
  bool killing() const noexcept { return state_ == State::killing; }
  bool accepts() const noexcept { return !closed() && !broken_; }
  /// Whatever a worker has now, nothing of it is tried again.
  bool gives_up() const noexcept { return broken_ || killing(); }
  /// Why the pool cannot go on; null if it can.
  const std::shared_ptr<const Failure>& broken() const noexcept { return broken_; }
  /// Throws what a submit has to throw.
  void check() const;

  void close() noexcept;
  /// False if it was so before.
  bool kill() noexcept;
  /// False if the pool was broken before: the first cause stays.
  bool break_with(std::shared_ptr<const Failure> failure) noexcept;

  /// Of the tasks that shutdown with kill_workers meets.
  static std::shared_ptr<const Failure> failure_of_killed();

 private:
  State state_ = State::open;
  std::shared_ptr<const Failure> broken_;
};

}  // namespace yoke::pool
