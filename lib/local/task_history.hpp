// TaskHistories: what a pool remembers of the few tasks to which something has happened. One thread at a time (the
// pool's lock).
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "lib/pool/failure.hpp"
#include "lib/wire/chunk.hpp"
#include "yoke/pool.hpp"

namespace yoke::local {

struct TaskHistory {
  std::vector<std::shared_ptr<const pool::Death>> deaths;  // of workers that had begun it; it is tried again
  std::optional<wire::ChunkParts> parts;                   // of a chunk: what there is of its value
  int deaths_before = 0;                           // of workers that had it first in line and had not begun it
  std::optional<Clock::time_point> first_in_line;  // in a worker from which it was taken back unbegun
};

class TaskHistories {
 public:
  bool empty() const noexcept { return of_.empty(); }
  /// Null if nothing has happened to it.
  const TaskHistory* find(const Task& task) const {
    const auto known = of_.find(&task);
    return known == of_.end() ? nullptr : &known->second;
  }
  /// Makes one where there is none.
  TaskHistory& of(const Task& task) { return of_[&task]; }
  /// The task is settled.
  void forget(const Task& task) {
    if (!of_.empty()) of_.erase(&task);
  }
  void clear() noexcept { of_.clear(); }
  /// Of a chunk: the first item that is neither done nor lost.
  std::uint64_t next_item(const Task& task) const {
    const TaskHistory* known = find(task);
    return known && known->parts ? known->parts->next() : 0;
  }

 private:
  std::unordered_map<const Task*, TaskHistory> of_;
};

}  // namespace yoke::local
