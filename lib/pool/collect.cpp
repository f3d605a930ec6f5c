// Collection: results from the workers' rings into the tasks, by whoever looks.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lib/pool/local_pool.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/pause.hpp"

namespace yoke::pool {
namespace {

constexpr double weight_of_latest = 1.0 / 8;
constexpr double most_of_mean = 4;  // that one task counts for: a long one among short ones says little of the others
constexpr std::chrono::milliseconds patience{1};
constexpr std::size_t few_results = 2;  // that a worker still has to bring: each is waited for

}  // namespace

bool LocalPool::collect_all() {
  bool any = false;
  for (std::size_t i = 0; i < workers_.size(); ++i) any |= collect_from(*workers_[i]);
  return any;
}

bool LocalPool::collect_from(Worker& worker) {
  if (!worker.channel.peek()) return false;
  just_woken_.store(false, std::memory_order_relaxed);
  channel::ParentChannel::Collected result;
  while (worker.channel.collect(result)) finish(worker, result);
  worker.slow = worker.full = false;
  if (worker.idle()) may_be_imbalanced_ = true;  // it can run what waits elsewhere
  if (worker.idle() && options_.timeout) {
    worker.idle_since = Clock::now();
    watch_at_latest(time_after(worker.idle_since, *options_.timeout));
  }
  return true;
}

void LocalPool::finish(Worker& worker, channel::ParentChannel::Collected& result) {
  if (!result.lack.empty())
    result.outcome = failed(std::make_shared<TextFailure<Error>>("its result could not be taken: " + result.lack));
  if (result.too_long != 0)
    result.outcome = failed(std::make_shared<TextFailure<SerializationError>>(
        fmt::format("what it returned, or threw, has {} bytes, more than max_result allows ({})", result.too_long,
                    *options_.max_result)));
  if (worker.initializer && result.task == worker.initializer) {
    worker.initializer.reset();
    if (!result.damage.empty())
      doom(worker, Doom::misbehaved, "its initializer left a result that cannot be, and it was killed");
    else if (result.outcome.kind == Outcome::Kind::failure)
      break_pool(result.outcome.failure);
    else if (result.outcome.kind == Outcome::Kind::exception)
      break_pool(std::make_shared<InitializerFailure>(std::move(result.outcome.bytes), worker.process.pid()));
    else
      tell_ready(worker);
    return;
  }
  ++worker.done;
  ++collected_;
  const auto elapsed = static_cast<double>(result.elapsed_ns);
  mean_task_ns_ += mean_task_ns_ == 0
                       ? elapsed
                       : (std::min(elapsed, most_of_mean * mean_task_ns_) - mean_task_ns_) * weight_of_latest;
  if (result.damage.empty() && (result.part || !history_of_.empty())) result.damage = add_part(*result.task, result);
  if (!result.damage.empty()) {
    result.outcome = failed(std::make_shared<TextFailure<SerializationError>>(
        "the worker with pid " + std::to_string(worker.process.pid()) + " published " + result.damage +
        "; it is being replaced, since its memory cannot be trusted"));
    doom(worker, Doom::misbehaved, "it published a result that cannot be, and was killed");
  }
  // Whoever waits for this may submit the next one at once, and shall not meet a worker that cannot give results back.
  if (result.outcome.kind == Outcome::Kind::exception && worker.mode == WorkerMode::serving &&
      worker.channel.too_large()) {
    take_back_unstarted(worker);
    ask_to_leave(worker);
  }
  Task& task = *result.task;
  if (tell_) {
    tell_ready(worker);
    tell_started(worker, result.position, task, Clock::now() - std::chrono::nanoseconds(result.elapsed_ns));
    tell_done(worker, task, result.outcome.kind != Outcome::Kind::value);
  }
  if (task.done()) return;  // failed or cancelled while it ran
  if (result.part && result.damage.empty()) {
    task.pool_word = 0;
    backlog_.push_front(std::move(result.task));
    return;
  }
  if (!history_of_.empty()) history_of_.erase(&task);
  task.set_worker_pid(worker.process.pid());
  task.elapsed_ns = result.elapsed_ns;
  task.pool_word = 0;
  ++(result.outcome.kind == Outcome::Kind::value && !result.outcome.failure ? counts_.done : counts_.failed);
  task.resolve(std::move(result.outcome));
  YOKE_FAULT_POINT(after_resolve, worker.process.pid());
}

/// The value of a chunk of which some items came before, or are still to come: what there is of it is put together.
/// Returns what is wrong with it.
std::string LocalPool::add_part(Task& task, channel::ParentChannel::Collected& result) {
  const auto chunk = wire::chunk_arguments(task);
  if (!chunk || result.outcome.kind != Outcome::Kind::value || task.done())
    return result.part && !task.done() ? "a part of a result that has none" : "";
  const auto known = history_of_.find(&task);
  if (!result.part && (known == history_of_.end() || !known->second.parts)) return {};
  auto& parts = history_of_[&task].parts;
  if (!parts) parts.emplace(chunk->count);
  if (!parts->add(result.outcome.bytes) || parts->complete() == result.part) return "a part of a result that cannot be";
  task.attempts = 0;
  history_of_[&task].deaths.clear();
  if (!result.part) result.outcome = parts->join();
  return {};
}

/// Once: the worker has told that its start-up is over, and its initializer has run.
void LocalPool::tell_ready(Worker& worker) {
  if (!tell_ || std::exchange(worker.told_ready, true)) return;
  tell_({EventKind::worker_ready, Clock::now(), worker.process.pid(), worker.rank});
}

/// Once for each position.
void LocalPool::tell_started(Worker& worker, std::uint64_t position, const Task& task, Clock::time_point time) {
  if (!tell_ || worker.told_started > position) return;
  worker.told_started = position + 1;
  tell_({EventKind::task_started, time, worker.process.pid(), worker.rank, TaskName(task)});
}

/// The task that it is seen to run, if there is one.
void LocalPool::tell_running(Worker& worker, Clock::time_point now) {
  const auto position = worker.channel.oldest_position();
  if (!position || !worker.channel.started(*position)) return;
  const TaskPtr task = worker.channel.oldest();
  if (task == worker.initializer) return;
  const auto told = worker.channel.started_ns(*position);
  tell_started(worker, *position, *task, told ? Clock::time_point(std::chrono::nanoseconds(*told)) : now);
}

void LocalPool::tell_done(const Worker& worker, const Task& task, bool failed) {
  if (tell_) tell_({EventKind::task_done, Clock::now(), worker.process.pid(), worker.rank, TaskName(task), failed});
}

void LocalPool::wait(const Task& task, Deadline deadline) {
  check_process();
  const std::unique_lock leading(leader_, std::try_to_lock);
  if (leading)
    lead(task, deadline);
  else
    task.sleep_until_done(deadline);
}

/// The one waiter that collects, for all: first spinning, then asleep on the workers' doorbells and its own task.
///
/// Where all cores are taken, being woken for each of many results would cost the workers more than their tasks. While
/// results flow it is then patient: woken once a worker has half of what it was given behind it, or after a moment.
void LocalPool::lead(const Task& task, Deadline deadline) {
  for (;;) {
    const std::uint32_t spin = spin_looks_.load(std::memory_order_relaxed);
    const bool patient = patient_ && spin == channel::short_spin;
    for (std::uint32_t looks = patient || just_woken_.load(std::memory_order_relaxed) ? 1 : spin; looks != 0; --looks) {
      if (task.done()) return;
      if (Lock lock(mutex_, std::try_to_lock); lock && collect_all()) {
        dispatch();
        if (!task.done() && !patient) looks = spin;
        continue;
      }
      system::pause();
    }
    std::array<system::WaitWord, system::max_wait_words> words;
    std::size_t count = 0;
    std::vector<Worker*> armed;
    Deadline wake_at = deadline;
    bool many_outstanding = false;
    std::uint64_t collected = 0;
    {
      const Lock lock(mutex_);
      for (const auto& worker : workers_) {
        if (worker->idle() || count + 1 >= words.size()) continue;
        const std::size_t outstanding = worker->outstanding();
        const bool many = outstanding > few_results;
        worker->channel.arm_leader_bell(patient && many ? worker->channel.next_position() - 1 - outstanding / 2 : 0);
        words[count++] = worker->channel.leader_bell().wait_word();
        armed.push_back(worker.get());
        many_outstanding |= many;
      }
      if (patient && many_outstanding) {
        const auto soon = Clock::now() + patience;
        wake_at = deadline ? std::min(*deadline, soon) : soon;
      }
      collect_all();  // what was published before the bells were armed
      dispatch();
      collected = collected_;
    }
    const auto expected = task.mark_waited();
    if (expected) {
      words[count++] = {&task.state_word(), *expected, system::Sharing::process_private};
      system::futex_wait_any(std::span(words.data(), count), wake_at);
    }
    {
      const Lock lock(mutex_);
      for (const auto& worker : workers_)
        if (std::find(armed.begin(), armed.end(), worker.get()) != armed.end()) worker->channel.leader_bell().disarm();
      collect_all();  // what was published while the bells were ours
      dispatch();
      patient_ = many_outstanding && (!patient || collected_ != collected);
    }
    if (task.done() || (deadline && Clock::now() >= *deadline)) return;
  }
}

}  // namespace yoke::pool
