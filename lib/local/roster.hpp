// Roster: the workers of a pool, their ranks, and which of them was given the last task. One thread at a time (the
// pool's lock).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "lib/local/worker.hpp"
#include "yoke/pool.hpp"

namespace yoke::local {

class Roster {
 public:
  using Workers = std::vector<std::unique_ptr<Worker>>;

  const Workers& all() const noexcept { return workers_; }
  auto begin() const noexcept { return workers_.begin(); }
  auto end() const noexcept { return workers_.end(); }
  bool empty() const noexcept { return workers_.empty(); }
  std::size_t size() const noexcept { return workers_.size(); }
  Worker& operator[](std::size_t index) const { return *workers_[index]; }

  Worker& add(std::unique_ptr<Worker> worker);
  std::unique_ptr<Worker> remove(std::size_t index);
  void clear() noexcept { workers_.clear(); }

  /// So many, at least, take tasks. Without counting: so whatever makes a worker take tasks, or cease to, is done here.
  bool has_taking(std::size_t count) const noexcept { return taking_ >= count; }
  /// Gives a spare worker the lowest rank that is free.
  void promote(Worker& worker, Clock::time_point now);
  bool retire(Worker& worker);
  bool kill(Worker& worker, KillReason reason, std::string text);
  std::size_t reserves() const;

  /// The rank of one that is killed, or retires with nothing to do, is free: its replacement may start before it is
  /// gone.
  int lowest_free_rank(int from, const Worker* but = nullptr) const;
  /// One whose start is over, and that takes tasks.
  bool has_ready() const;
  /// Who has the task; null if nobody.
  Worker* holder_of(const Task& task) const;

  /// Index of the worker that got the last task and is awake.
  std::size_t preferred() const noexcept { return preferred_; }
  void prefer(std::size_t index) noexcept { preferred_ = index; }

  // A task's pool_word says which worker has it, and where.
  static constexpr std::uint64_t position_mask = 0xffff'ffff'ffff;
  static std::uint64_t position_of(const Task& task) noexcept { return task.pool_word & position_mask; }
  static std::uint64_t word_for(const Worker& worker, std::uint64_t position) noexcept {
    return static_cast<std::uint64_t>(worker.rank() + 1) << 48 | (position & position_mask);
  }

 private:
  void check() const;

  Workers workers_;
  std::size_t taking_ = 0;  // that take tasks
  std::size_t preferred_ = 0;
};

}  // namespace yoke::local
