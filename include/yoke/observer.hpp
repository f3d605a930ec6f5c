// Observer: what a pool tells of its workers and tasks while they go on, for logs and dashboards.
//
// Set in ExecutorOptions::observer; one observer may serve several pools. It is called on the callback thread, as done
// callbacks are: one call at a time, in the order of the events, never on the watchdog and with no lock held. It may
// submit, resize and shut down; what it throws goes to the error handler. A slow one delays callbacks, and nothing
// else.
#pragma once

#include "yoke/language.hpp"

#include <chrono>
#include <optional>
#include <string>

#include "yoke/error.hpp"
#include "yoke/export.hpp"

namespace yoke {

enum class EventKind {
  worker_started,  // its process was launched
  worker_ready,  // it takes tasks; its initializer has run
  worker_died,  // it ended unasked, or was killed; `death` tells how
  worker_retired,  // it ended because it was asked to
  task_started,  // a worker began it; told within 100 ms, or with its end
  task_done  // its worker returned a value or an exception, or lost it
};
YOKE_API const char* to_string(EventKind kind) noexcept;

struct Event {
  EventKind kind = EventKind::worker_started;
  std::chrono::steady_clock::time_point time;  // of what happened, not of the call
  int pid = 0;  // of the worker
  int rank = 0;
  std::string task;  // name, for task events; empty otherwise
  bool failed = false;  // task_done: it threw, or lost its worker
  std::optional<WorkerDeath> death;  // worker_died
};

class YOKE_API Observer {
 public:
  virtual ~Observer();
  virtual void on_event(const Event& event) = 0;
};

}  // namespace yoke
