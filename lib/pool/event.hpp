// PoolEvent: what a pool tells an observer, as cheap as it can be made at the moment: names and lines of code are
// looked up when the observer is called.
#pragma once

#include <functional>
#include <memory>

#include "lib/pool/failure.hpp"
#include "yoke/observer.hpp"

namespace yoke::pool {

struct PoolEvent {
  EventKind kind;
  Clock::time_point time;
  int pid;
  int rank;
  TaskName task{};
  bool failed = false;
  std::shared_ptr<const Death> death{};

  /// Slow, as Death::report().
  Event to_event() const;
};

/// Takes an event and returns at once: called with the pool's lock held. Empty: nobody listens.
using EventSink = std::function<void(PoolEvent)>;

}  // namespace yoke::pool
