// Deaths: the ledger of workers that did not end as they were asked to, by rank and by cause, and the restart budget
// that they spend. One thread at a time (the pool's lock); who asks says what time it is.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "lib/local/kill_reason.hpp"
#include "lib/pool/failure.hpp"
#include "lib/pool/time_after.hpp"
#include "yoke/options.hpp"
#include "yoke/stats.hpp"

namespace yoke::local {

using DeathPtr = std::shared_ptr<const pool::Death>;
/// A field of Stats::deaths_by_cause.
using DeathCause = std::uint64_t DeathCounts::*;

/// What ended a worker, killed for that reason or for none.
DeathCause cause_of(KillReason reason, const pool::Death& death);

class Deaths {
 public:
  explicit Deaths(RestartBudget budget) : budget_{budget.deaths, pool::bounded(budget.within)} {}

  /// What the caller wanted, by cancel or by a time limit, is counted by cause alone.
  void count(int rank, DeathCause cause);
  /// A death that the budget is there for; `results`: that the pool ever got. Returns null, or why the pool breaks: so
  /// many of late, and not a result between them.
  std::shared_ptr<const Failure> spend(const DeathPtr& death, Clock::time_point now, std::uint64_t results);

  std::uint64_t total() const noexcept { return total_; }
  const DeathCounts& by_cause() const noexcept { return by_cause_; }
  std::uint64_t of_rank(int rank) const noexcept;

 private:
  const RestartBudget budget_;
  std::uint64_t total_ = 0;
  DeathCounts by_cause_;
  std::vector<std::uint64_t> of_rank_;
  std::deque<std::pair<Clock::time_point, DeathPtr>> recent_;
  std::uint64_t results_ = 0;  // at the last death
};

}  // namespace yoke::local
