// Staffing: when workers start, and letting them go. All but retire and kill run on the watchdog, or say what it has to
// do.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "lib/local/local_pool.hpp"
#include "lib/pool/log.hpp"
#include "lib/system/environment.hpp"
#include "lib/system/fault_point.hpp"

namespace yoke::local {
namespace {

using pool::log;
using pool::LogLevel;
using pool::TextFailure;

constexpr std::chrono::seconds kill_patience{60};  // from SIGKILL to the end of a worker that the kernel has busy

}  // namespace

/// A further worker should take tasks: some wait for one.
bool LocalPool::needs_worker() const {
  if (admission_.gives_up() || roster_.has_taking(static_cast<std::size_t>(max_workers_))) return false;
  return scheduler::needs_worker(roster_.all(), backlog_.size(), static_cast<std::size_t>(max_workers_),
                                 options_.spawn_eagerly && !admission_.closed());
}

/// A further process should start: for tasks that wait, or to be at hand.
bool LocalPool::wants_worker() const {
  if (launch_retries_.pauses()) return false;
  if (needs_worker()) return true;
  return options_.spare_workers != 0 && roster_.reserves() < static_cast<std::size_t>(options_.spare_workers) &&
         scheduler::active(roster_.all()) != 0 && admission_.accepts();
}

/// Of the watchdog. The worker will have the environment of the call that found it missing.
void LocalPool::ask_for_worker() {
  if (!wants_worker()) {
    worker_is_wanted_ = false;
    return;
  }
  if (!worker_is_wanted_ && !system::on_own_thread()) {
    system::look_at_environment();
    worker_is_wanted_ = true;
  }
  sleep_.wake();
}

/// Reserves that are ready take the places that are free: without the time that a start takes.
void LocalPool::promote_reserves() {
  for (const auto& worker : roster_) {
    if (!worker->is_idle_reserve()) continue;
    if (!needs_worker()) return;
    roster_.promote(*worker, Clock::now());
  }
}

WorkerStarter::Order LocalPool::plan_start() {
  WorkerStarter::Order order;
  order.reserve = !needs_worker();
  order.rank = roster_.lowest_free_rank(order.reserve ? max_workers_ : 0);
  order.spin = spin_looks_.load(std::memory_order_relaxed);
  order.max_workers = max_workers_;
  worker_is_wanted_ = false;
  return order;
}

void LocalPool::take_started(WorkerStarter::Started started) {
  if (!started.worker) return launch_failed(started.trouble, started.passing, scheduler::active(roster_.all()) != 0);
  ++counts_.started;
  const auto now = Clock::now();
  Worker& worker = roster_.add(std::move(started.worker));
  worker.launched(now);
  log(LogLevel::info, "started worker {} (pid {})", worker.rank(), worker.pid());
  if (tell_) tell_({EventKind::worker_started, now, worker.pid(), worker.rank()});
  YOKE_FAULT_POINT(launch_settled, worker.pid());
  if (admission_.gives_up()) kill(worker, KillReason::pool_ends);
  dispatch();
}

/// Tries again after a while. Where nobody serves what waits, it is given up in the end.
void LocalPool::launch_failed(const std::string& trouble, bool passing, bool served) {
  const auto verdict = launch_retries_.failed(Clock::now(), passing, served);
  log(LogLevel::info, "could not start a worker (try {}): {}", launch_retries_.tries(), trouble);
  const std::string text =
      fmt::format("no worker process could be started in {} tries: {}", launch_retries_.tries(), trouble);
  switch (verdict) {
    case LaunchRetries::Verdict::try_again: return;
    case LaunchRetries::Verdict::give_up: return break_pool(std::make_shared<TextFailure<BrokenProcessPool>>(text));
    case LaunchRetries::Verdict::fail_waiting: return fail_waiting(std::make_shared<TextFailure<Error>>(text));
  }
}

/// Workers beyond max_workers, idle for too long, or no longer needed, are asked to leave.
void LocalPool::retire_surplus(Clock::time_point now) {
  const bool closing = admission_.closed() && backlog_.empty();
  auto surplus = static_cast<std::ptrdiff_t>(scheduler::taking(roster_.all())) - max_workers_;
  for (const bool only_idle : {true, false}) {
    for (const auto& worker : roster_) {
      if (surplus <= 0) break;
      if (!worker->takes_tasks() || (only_idle && !worker->idle())) continue;
      take_back_unstarted(*worker);
      retire(*worker);
      --surplus;
    }
  }
  for (const auto& worker : roster_) {
    if (!worker->is_in_service()) continue;
    if (worker->channel.too_large()) {
      take_back_unstarted(*worker);
      retire(*worker);
    }
    // A reserve leaves some time after the last of the others.
    if (worker->life().is_reserve() && scheduler::active(roster_.all()) != 0) worker->idles_from(now);
    if (worker->idle() && (closing || now >= leaves_at(*worker))) retire(*worker);
  }
}

/// When an idle worker has been idle for too long. One that starts up is not: else a pool whose workers need longer for
/// their start than they may be idle would start them for ever.
Clock::time_point LocalPool::leaves_at(const Worker& worker) const {
  if (!options_.timeout || options_.spawn_eagerly || !worker.is_ready() ||
      (worker.life().is_reserve() && scheduler::active(roster_.all()) != 0))
    return Clock::time_point::max();
  return time_after(worker.idle_since(), *options_.timeout);
}

/// Once what it has is done, it ends by itself.
void LocalPool::retire(Worker& worker) {
  if (!roster_.retire(worker)) return;
  log(LogLevel::debug, "asked worker {} (pid {}) to leave", worker.rank(), worker.pid());
  worker.channel.ask_to_stop();
  YOKE_FAULT_POINT(asked_to_leave, worker.pid());
  sleep_.wake();
}

/// Ends it: at once, or with SIGTERM first where its task may have something to put in order. What it has not started
/// goes to others. A worker that is killed already is only hurried; the first reason stays.
void LocalPool::kill(Worker& worker, KillReason reason, const std::string& text) {
  if (roster_.kill(worker, reason, text)) {
    if (may_blame_task(reason)) blame_first(worker);
    take_back_unstarted(worker);
    if (is_gentle(reason)) {
      worker.process.signal(SIGTERM);  // if that may not be sent, SIGKILL tells
      worker.kill_at(time_after(Clock::now(), options_.kill_grace));
    }
  }
  if (!is_gentle(reason)) send_kill(worker);
  sleep_.wake();
}

void LocalPool::kill_all() {
  for (const auto& worker : roster_) kill(*worker, KillReason::pool_ends);
}

/// A worker to which no signal may be sent, since it has other rights than this process by now or a filter forbids it,
/// is asked to end itself; in the end it is given up, so that nobody waits for it for ever.
void LocalPool::send_kill(Worker& worker) {
  const std::error_code answer = worker.process.signal_group(SIGKILL);
  worker.killing(answer, answer ? time_after(Clock::now(), options_.kill_grace) : Clock::now() + kill_patience);
  if (!answer) return;
  worker.channel.ask_to_end();
  life_notices_.wake_all();
}

/// Who was asked to end and has not, is killed.
void LocalPool::kill_overdue(Clock::time_point now) {
  for (const auto& worker : roster_) {
    if (worker->life().is_retiring() && worker->idle() && !worker->kill_at())
      worker->kill_at(time_after(now, options_.kill_grace));
    if (worker->cannot_be_killed())
      send_kill(*worker);  // its lifeline may have been about to sleep
    else if (worker->kill_at() && now >= *worker->kill_at())
      kill(*worker, KillReason::pool_ends);
  }
}

}  // namespace yoke::local
