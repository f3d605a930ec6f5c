#include "lib/local/deaths.hpp"

#include <fmt/format.h>

#include <variant>

namespace yoke::local {
DeathCause cause_of(KillReason reason, const pool::Death& death) {
  switch (reason) {
    case KillReason::cancelled: return &DeathCounts::cancelled;
    case KillReason::timed_out: return &DeathCounts::timed_out;
    case KillReason::over_memory: return &DeathCounts::over_memory_limit;
    case KillReason::misbehaved:
    case KillReason::not_started: return &DeathCounts::misbehaved;
    case KillReason::none:
    case KillReason::pool_ends: break;
  }
  if (death.out_of_memory) return &DeathCounts::out_of_memory;
  if (std::holds_alternative<system::Exited>(death.status)) return &DeathCounts::exited;
  return death.crashed() ? &DeathCounts::crashed : &DeathCounts::killed;
}

void Deaths::count(int rank, DeathCause cause) {
  ++(by_cause_.*cause);
  if (cause == &DeathCounts::cancelled || cause == &DeathCounts::timed_out) return;
  ++total_;
  const auto index = static_cast<std::size_t>(rank);
  if (index >= of_rank_.size()) of_rank_.resize(index + 1);
  ++of_rank_[index];
}

std::shared_ptr<const Failure> Deaths::spend(const DeathPtr& death, Clock::time_point now, std::uint64_t results) {
  if (std::exchange(results_, results) != results) recent_.clear();  // there is progress
  recent_.emplace_back(now, death);
  while (now - recent_.front().first > budget_.within) recent_.pop_front();
  if (recent_.size() <= static_cast<std::size_t>(budget_.deaths)) return nullptr;
  std::vector<DeathPtr> causes;
  for (const auto& [time, cause] : recent_) causes.push_back(cause);
  return std::make_shared<pool::BrokenByDeaths>(
      fmt::format(
          "{} workers died within {} s and no task finished between them, more than restart_budget allows ({} deaths):",
          causes.size(), budget_.within.count(), budget_.deaths),
      std::move(causes));
}

std::uint64_t Deaths::of_rank(int rank) const noexcept {
  const auto index = static_cast<std::size_t>(rank);
  return index < of_rank_.size() ? of_rank_[index] : 0;
}

}  // namespace yoke::local
