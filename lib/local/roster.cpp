#include "lib/local/roster.hpp"

#include <algorithm>
#include <utility>

#include "lib/local/scheduler.hpp"

namespace yoke::local {

Worker& Roster::add(std::unique_ptr<Worker> worker) {
  workers_.push_back(std::move(worker));
  changes();
  return *workers_.back();
}

std::unique_ptr<Worker> Roster::remove(std::size_t index) {
  std::unique_ptr<Worker> worker = std::move(workers_[index]);
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(index));
  preferred_ = 0;
  changes();
  return worker;
}

void Roster::changes() { taking_ = scheduler::taking(workers_); }

std::size_t Roster::reserves() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      workers_, [](const auto& worker) { return worker->is_in_service() && worker->life().is_reserve(); }));
}

int Roster::lowest_free_rank(int from, const Worker* but) const {
  for (int rank = from;; ++rank)
    if (std::ranges::none_of(workers_, [&](const auto& worker) {
          return worker.get() != but && worker->rank() == rank && (worker->is_active() || worker->life().is_reserve());
        }))
      return rank;
}

Worker* Roster::holder_of(const Task& task) const {
  if (task.pool_word == 0) return nullptr;
  for (const auto& worker : workers_)
    if (worker->channel.task_at(position_of(task)).get() == &task) return worker.get();
  return nullptr;
}

}  // namespace yoke::local
