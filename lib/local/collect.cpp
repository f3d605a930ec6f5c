// Collection: results from the workers' rings into the tasks, by whoever looks.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lib/local/local_pool.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/pause.hpp"

namespace yoke::local {
namespace {

using pool::failed;
using pool::TextFailure;

constexpr std::chrono::milliseconds patience{1};
constexpr std::size_t few_results = 2;  // that a worker still has to bring: each is waited for

}  // namespace

bool LocalPool::collect_all() {
  bool any = false;
  for (std::size_t i = 0; i < roster_.size(); ++i) any |= collect_from(roster_[i]);
  return any;
}

bool LocalPool::collect_from(Worker& worker) {
  if (!worker.channel.peek()) return false;
  just_woken_.store(false, std::memory_order_relaxed);
  Collected result;
  while (worker.channel.collect(result)) finish(worker, result);
  worker.results_came();
  if (worker.idle()) may_be_imbalanced_ = true;  // it can run what waits elsewhere
  if (worker.idle() && options_.timeout) {
    worker.idles_from(Clock::now());
    sleep_.wake_by(time_after(worker.idle_since(), *options_.timeout));
  }
  return true;
}

void LocalPool::finish(Worker& worker, Collected& result) {
  if (!result.lack.empty()) {
    result.outcome = failed(std::make_shared<TextFailure<Error>>("its result could not be taken: " + result.lack));
    result.part = false;
  }
  if (result.too_long != 0) result.outcome = failed(too_long(result.too_long));
  if (worker.is_initializer(result.task)) return finish_initializer(worker, result);
  worker.task_done();
  ++results_;
  run_times_.add(static_cast<double>(result.elapsed_ns));
  if (result.damage.empty() && (result.part || !histories_.empty())) result.damage = add_part(*result.task, result);
  if (!result.damage.empty()) {
    result.outcome = failed(std::make_shared<TextFailure<SerializationError>>(
        "the worker with pid " + std::to_string(worker.pid()) + " published " + result.damage +
        "; it is being replaced, since its memory cannot be trusted"));
    kill(worker, KillReason::misbehaved, "it published a result that cannot be, and was killed");
    result.part = false;
  }
  if (!histories_.empty() && result.outcome.kind != Outcome::Kind::value) keep_parts(worker, result);
  // Whoever waits for this may submit the next one at once, and shall not meet a worker that cannot give results back.
  if (result.outcome.kind == Outcome::Kind::exception && worker.is_in_service() && worker.channel.too_large()) {
    take_back_unstarted(worker);
    retire(worker);
  }
  if (tell_) {
    tell_ready(worker);
    tell_started(worker, result.position, *result.task, Clock::now() - std::chrono::nanoseconds(result.elapsed_ns));
    tell_done(worker, *result.task, result.outcome.kind != Outcome::Kind::value);
  }
  settle(worker, result);
}

void LocalPool::finish_initializer(Worker& worker, Collected& result) {
  worker.initialized();
  if (!result.damage.empty())
    kill(worker, KillReason::misbehaved, "its initializer left a result that cannot be, and it was killed");
  else if (result.outcome.kind == Outcome::Kind::failure)
    break_pool(result.outcome.failure);
  else if (result.outcome.kind == Outcome::Kind::exception)
    break_pool(std::make_shared<pool::InitializerFailure>(std::move(result.outcome.bytes), worker.pid()));
  else
    tell_ready(worker);
}

/// Gives the outcome to its task, or the task to the backlog where some of its items are still to come.
void LocalPool::settle(Worker& worker, Collected& result) {
  Task& task = *result.task;
  if (task.done()) return;  // failed or cancelled while it ran
  task.pool_word = 0;
  if (result.part) {
    backlog_.push_front(std::move(result.task));
    return;
  }
  histories_.forget(task);
  task.set_worker_pid(worker.pid());
  task.elapsed_ns = result.elapsed_ns;
  ++(result.outcome.kind == Outcome::Kind::value && !result.outcome.failure ? counts_.done : counts_.failed);
  task.resolve(std::move(result.outcome));
  YOKE_FAULT_POINT(after_resolve, worker.pid());
}

/// The value of a chunk of which some items came before, or are still to come: what there is of it is put together.
/// Returns what is wrong with it.
std::string LocalPool::add_part(Task& task, Collected& result) {
  using Added = wire::ChunkParts::Added;
  const auto chunk = wire::chunk_arguments(task);
  if (!chunk || result.outcome.kind != Outcome::Kind::value || task.done())
    return result.part && !task.done() ? "a part of a result that has none" : "";
  const TaskHistory* known = histories_.find(task);
  if (!result.part && (!known || !known->parts)) return {};
  TaskHistory& history = histories_.of(task);
  if (!history.parts) history.parts.emplace(*chunk, options_.max_result);
  Added added = Added::no;
  try {
    added = history.parts->add(result.outcome.bytes);
  } catch (const SerializationError& error) {
    return error.what();
  } catch (const std::exception& error) {  // no memory left for a copy
    result.part = false;
    result.outcome =
        failed(std::make_shared<TextFailure<Error>>(fmt::format("its result could not be taken: {}", error.what())));
    return {};
  }
  if (added == Added::too_long) {
    result.part = false;
    result.outcome = failed(too_long(history.parts->bytes()));
    return {};
  }
  if (added == Added::no || history.parts->complete() == result.part) return "a part of a result that cannot be";
  task.attempts = 0;
  history.deaths.clear();
  if (!result.part) result.outcome = history.parts->join();
  return {};
}

LocalPool::FailurePtr LocalPool::too_long(std::uint64_t bytes) const {
  return std::make_shared<TextFailure<SerializationError>>(fmt::format(
      "what it returned, or threw, has {} bytes, more than max_result allows ({})", bytes, *options_.max_result));
}

/// The rest of a chunk failed: what came of it before, from other workers perhaps, is kept.
void LocalPool::keep_parts(Worker& worker, Collected& result) {
  const TaskHistory* known = histories_.find(*result.task);
  if (!known || !known->parts || known->parts->next() == 0 || result.task->done()) return;
  wire::ChunkParts& parts = *histories_.of(*result.task).parts;
  const FailurePtr failure = result.outcome.kind == Outcome::Kind::failure
                                 ? result.outcome.failure
                                 : std::make_shared<pool::Thrown>(std::move(result.outcome.bytes), worker.pid());
  if (parts.lose_rest(failure)) result.outcome = parts.join();
}

void LocalPool::wait(const Task& task, Deadline deadline) {
  check_process();
  if (!collector_.try_lock()) return task.sleep_until_done(deadline);
  const Lock collecting(collector_, std::adopt_lock);
  collect_while_waiting(task, deadline);
}

/// False if somebody else has the lock, or there is nothing.
bool LocalPool::try_to_collect() {
  if (!mutex_.try_lock()) return false;
  const Lock lock(mutex_, std::adopt_lock);
  if (!collect_all()) return false;
  dispatch();
  return true;
}

/// By the one waiter that collects, for all: first spinning, then asleep on the workers' doorbells and its own task.
///
/// Where all cores are taken, being woken for each of many results would cost the workers more than their tasks. While
/// results flow the waiter then lets them gather: it is woken once a worker has half of what it was given behind it, or
/// after a moment.
void LocalPool::collect_while_waiting(const Task& task, Deadline deadline) {
  for (;;) {
    const std::uint32_t spin = spin_looks_.load(std::memory_order_relaxed);
    const bool batching = batching_ && spin == channel::short_spin;
    for (std::uint32_t looks = batching || just_woken_.load(std::memory_order_relaxed) ? 1 : spin; looks != 0;
         --looks) {
      if (task.done()) return;
      if (try_to_collect()) {
        if (!task.done() && !batching) looks = spin;
        continue;
      }
      system::pause();
    }
    std::array<system::WaitWord, system::max_wait_words> words;
    std::size_t count = 0;
    std::vector<Worker*> armed;
    Deadline wake_at = deadline;
    bool many_outstanding = false;
    std::uint64_t results = 0;
    {
      const Lock lock(mutex_);
      for (const auto& worker : roster_) {
        if (worker->idle() || count + 1 >= words.size()) continue;
        const std::size_t outstanding = worker->outstanding();
        const bool many = outstanding > few_results;
        worker->channel.arm_leader_bell(batching && many ? worker->channel.next_position() - 1 - outstanding / 2 : 0);
        words[count++] = worker->channel.leader_bell().wait_word();
        armed.push_back(worker.get());
        many_outstanding |= many;
      }
      if (batching && many_outstanding) {
        const auto soon = Clock::now() + patience;
        wake_at = deadline ? std::min(*deadline, soon) : soon;
      }
      collect_all();  // what was published before the bells were armed
      dispatch();
      results = results_;
    }
    const auto expected = task.mark_waited();
    if (expected) {
      words[count++] = {&task.state_word(), *expected, system::Sharing::process_private};
      system::futex_wait_any(std::span(words.data(), count), wake_at);
    }
    {
      const Lock lock(mutex_);
      for (const auto& worker : roster_)
        if (std::ranges::find(armed, worker.get()) != armed.end()) worker->channel.leader_bell().disarm();
      collect_all();  // what was published while the bells were ours
      dispatch();
      batching_ = many_outstanding && (!batching || results_ != results);
    }
    if (task.done() || (deadline && Clock::now() >= *deadline)) return;
  }
}

/// Spinning before sleeping pays only where a core is free for each that spins: the waiter, and the workers that have
/// something to do, or were given something since the last look.
void LocalPool::tune_spinning() {
  std::size_t spinners = 1;
  for (const auto& worker : roster_) spinners += worker->was_busy() ? 1 : 0;
  const std::uint32_t looks = spinners <= cores_ ? channel::long_spin : channel::short_spin;
  if (looks == spin_looks_.exchange(looks, std::memory_order_relaxed)) return;
  for (const auto& worker : roster_) worker->channel.set_spin(looks);
}

}  // namespace yoke::local
