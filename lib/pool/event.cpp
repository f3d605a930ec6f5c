#include "lib/pool/event.hpp"

namespace yoke {

Observer::~Observer() = default;

const char* to_string(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::worker_started: return "worker started";
    case EventKind::worker_ready: return "worker ready";
    case EventKind::worker_died: return "worker died";
    case EventKind::worker_retired: return "worker retired";
    case EventKind::task_started: return "task started";
    case EventKind::task_done: return "task done";
  }
  return "unknown";
}

namespace pool {

Event PoolEvent::to_event() const {
  Event event{kind, time, pid, rank, task.text(), failed, {}};
  if (death) event.death = death->report();
  return event;
}

}  // namespace pool
}  // namespace yoke
