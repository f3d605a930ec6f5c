#include "lib/local/roster.hpp"

#include <algorithm>
#include <utility>

#include "lib/local/scheduler.hpp"
#include "lib/system/assert.hpp"

namespace yoke::local {

void Roster::check() const { YOKE_ASSERT(taking_ == scheduler::taking(workers_)); }

Worker& Roster::add(std::unique_ptr<Worker> worker) {
  workers_.push_back(std::move(worker));
  if (workers_.back()->takes_tasks()) ++taking_;
  check();
  return *workers_.back();
}

std::unique_ptr<Worker> Roster::remove(std::size_t index) {
  std::unique_ptr<Worker> worker = std::move(workers_[index]);
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(index));
  if (worker->takes_tasks()) --taking_;
  preferred_ = 0;
  check();
  return worker;
}

void Roster::promote(Worker& worker, Clock::time_point now) {
  worker.promote(lowest_free_rank(0, &worker), now);
  ++taking_;
}

bool Roster::retire(Worker& worker) {
  const bool took = worker.takes_tasks();
  if (!worker.retire()) return false;
  if (took) --taking_;
  return true;
}

bool Roster::kill(Worker& worker, KillReason reason, std::string text) {
  const bool took = worker.takes_tasks();
  if (!worker.kill(reason, std::move(text))) return false;
  if (took) --taking_;
  return true;
}

bool Roster::has_ready() const {
  return std::ranges::any_of(workers_, [](const auto& worker) { return worker->takes_tasks() && worker->is_ready(); });
}

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
