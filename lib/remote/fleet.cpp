// The calls of the pool.
#include "lib/remote/fleet.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <stdexcept>

#include "lib/pool/all_pools.hpp"
#include "lib/pool/count_waiting.hpp"
#include "lib/pool/failure.hpp"
#include "lib/pool/time_after.hpp"
#include "lib/remote/agent_command.hpp"
#include "lib/system/environment.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/thread.hpp"

namespace yoke::remote {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds shortest_heartbeat{10};

void check(const RemoteOptions& options) {
  if (options.hosts.empty() && !options.slurm)
    throw std::invalid_argument("a remote pool needs hosts, or a Slurm job: RemoteOptions has neither");
  if (options.slurm && options.slurm->nodes < 1) throw std::invalid_argument("slurm.nodes must be at least 1");
  for (const Host& host : options.hosts) {
    if (host.name.empty()) throw std::invalid_argument("a host without a name");
    if (host.name.front() == '-')
      throw std::invalid_argument(
          fmt::format("'{}' is no name of a host: launchers would take it for an option", host.name));
    if (host.workers && *host.workers < 1)
      throw std::invalid_argument(
          fmt::format("workers of host {} must be at least 1, not {}", host.name, *host.workers));
    fill_in(host.launcher.empty() ? options.launcher : host.launcher, host.name, {"agent"});
  }
  if (options.workers_per_host && *options.workers_per_host < 1)
    throw std::invalid_argument(fmt::format("workers_per_host must be at least 1, not {}", *options.workers_per_host));
  if (options.heartbeat < shortest_heartbeat)
    throw std::invalid_argument(fmt::format("heartbeat must be at least {} ms", shortest_heartbeat.count()));
  if (options.lease < 2 * options.heartbeat)
    throw std::invalid_argument("the lease must be at least two heartbeats long");
  if (!options.worker.job_reducers.empty() || !options.worker.result_reducers.empty())
    throw std::invalid_argument("reducers cannot be used on other machines yet: give the types a codec");
  if (const Initializer& call = options.worker.initializer;
      call && call.arguments().buffer() && call.arguments().buffer()->speaks_of_shared_memory())
    throw std::invalid_argument(
        "an initializer on other machines cannot take a SharedArray or a broadcast value: pass what it "
        "needs by value");
  if (options.worker.observer)
    throw std::invalid_argument("an observer sees no workers on other machines: ask stats(), or set on_output");
}

/// Its durations are added to each other, and to the time.
void bound_durations(RemoteOptions& options) {
  for (Milliseconds* const duration :
       {&options.start_timeout, &options.heartbeat, &options.lease, &options.reconnect_for,
        &options.worker.start_timeout, &options.worker.kill_grace})
    *duration = pool::bounded(*duration);
  options.worker.restart_budget.within = pool::bounded(options.worker.restart_budget.within);
  if (options.slurm && options.slurm->queue_timeout)
    options.slurm->queue_timeout = pool::bounded(*options.slurm->queue_timeout);
}

}  // namespace

std::shared_ptr<Fleet> Fleet::make(RemoteOptions options) {
  bound_durations(options);
  check(options);
  if (!system::program_is_ours())
    throw BrokenProcessPool(
        "agents are copies of the program, and this one would not become one: it is not linked to yoke, or its main "
        "was not "
        "entered through yoke's start hook. Call yoke::init(argc, argv) in the first line of main");
  auto fleet = std::make_shared<Fleet>(std::move(options));
  if (const auto& tell = fleet->options_.on_output)
    fleet->output_ = std::make_shared<OutputQueue>(tell, [weak = fleet->weak_from_this()](const Printed& printed) {
      if (const auto alive = weak.lock()) alive->output_taken(printed);
    });
  pool::remember_pool(fleet);
  return fleet;
}

Fleet::Fleet(RemoteOptions options)
    : options_(std::move(options)), silence_(silence_of_client(options_.lease, options_.heartbeat)) {
  for (const Host& host : options_.hosts) links_.push_back(std::make_unique<Link>(links_.size(), host));
}

Fleet::~Fleet() {
  if (thread_.joinable()) thread_.detach();  // it holds a handle: so it has ended, or this is it
}

void Fleet::check_accepting() const {
  if (broken_) std::rethrow_exception(broken_->make(""));
  if (!accepting_) throw ShutdownExecutorError("the executor is shut down and takes no more tasks");
}

void Fleet::start_thread() {
  if (thread_started_) return;
  system::look_at_environment();
  try {
    event_ = system::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event_) throw std::system_error(errno, std::system_category(), "eventfd");
    event_ = system::above_stdio(std::move(event_));
    thread_ = system::start_thread("yoke-remote", [self = shared_from_this()] { self->run(); });
  } catch (const std::system_error& error) {
    throw BrokenProcessPool(fmt::format("the pool's thread could not be started: {}", error.what()));
  }
  thread_started_ = true;
}

void Fleet::wake() noexcept {
  if (asleep_) ::eventfd_write(event_.get(), 1);
  asleep_ = false;
}

void Fleet::abandon() noexcept {
  abandoned_ = true;
  // Nobody else starts the thread any more, so the descriptor is there now or never.
  if (event_ && !in_other_process()) ::eventfd_write(event_.get(), 1);
}

int Fleet::connect(Milliseconds timeout, int hosts) {
  check_process();
  Lock lock(mutex_);
  check_accepting();
  start_thread();
  const auto serving = [&] {
    return static_cast<int>(
        std::ranges::count_if(links_, [](const auto& link) { return link->phase == LinkPhase::serving; }));
  };
  changed_.wait_for(lock, pool::bounded(timeout), [&] {
    const bool all_tried = std::ranges::none_of(
        links_, [&](const auto& link) { return link->phase != LinkPhase::serving && is_hopeful(*link); });
    const bool nodes_known = !options_.slurm || (slurm_ && slurm_->phase() != SlurmJob::Phase::requesting);
    return broken_ || !accepting_ || (hosts > 0 && serving() >= hosts) || (all_tried && nodes_known);
  });
  if (broken_) std::rethrow_exception(broken_->make(""));
  return serving();
}

std::vector<HostInfo> Fleet::hosts() const {
  const auto state_of = [](const Link& link) {
    switch (link.phase) {
      case LinkPhase::waiting: return HostState::waiting;
      case LinkPhase::starting: return HostState::starting;
      case LinkPhase::serving: return HostState::serving;
      default: return HostState::ended;
    }
  };
  check_process();
  const Lock lock(mutex_);
  std::vector<HostInfo> hosts;
  for (const auto& link : links_) {
    const bool serves = link->phase == LinkPhase::serving;
    hosts.push_back({link->host.name, state_of(*link), serves ? link->workers : 0, static_cast<int>(link->sent.size()),
                     serves ? std::string() : link->trouble});
  }
  if (options_.slurm && (!slurm_ || slurm_->nodes().empty())) {
    const bool may_come = !slurm_ || slurm_->phase() == SlurmJob::Phase::requesting;
    hosts.push_back({"slurm", may_come ? HostState::waiting : HostState::ended, 0, 0, slurm_ ? slurm_->trouble() : ""});
  }
  return hosts;
}

void Fleet::submit(TaskPtr task) {
  check_process();
  if (const auto held = memory_of(task->arguments()); !held.empty()) {
    {
      const Lock lock(mutex_);
      check_accepting();
    }
    blocks_.replace(held);
  }
  const Lock lock(mutex_);
  check_accepting();
  number_of(task->callable(), task->target());  // throws if no other process can find it
  start_thread();
  ++counts_.submitted;
  backlog_.push_back(std::move(task));
  dispatch();
  flush_or_wake();
}

Link* Fleet::link_of(const Task& task) const {
  const std::size_t place = static_cast<std::size_t>(task.pool_word >> 48);
  return place == 0 || place > links_.size() ? nullptr : links_[place - 1].get();
}

bool Fleet::running(const Task& task) const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  const Link* link = link_of(task);
  if (!link) return false;
  const auto found = link->sent.find(number_of(task));
  return found != link->sent.end() && found->second.started;
}

bool Fleet::cancel(Task& task, CancelMode mode) {
  if (in_other_process()) return false;
  Lock lock(mutex_);
  if (task.done()) return false;
  const auto cancelled = [&] {
    if (!task.resolve_cancelled()) return false;
    task.pool_word = 0;
    ++counts_.cancelled;
    return true;
  };
  Link* const link = link_of(task);
  if (!link) {
    if (!cancelled()) return false;
    backlog_.forget_one();
    return true;
  }
  const TaskNumber number = number_of(task);
  const TaskPtr alive(&task);
  cancels_.try_emplace(number);
  link->batch.push_to(link->queue, FrameType::tasks);  // before the cancel
  push_note(link->queue, FrameType::cancel, CancelNote{number, mode == CancelMode::kill});
  flush(*link);
  const auto answered = [&] {
    const auto found = cancels_.find(number);
    return task.done() || found == cancels_.end() || found->second || !link->sent.contains(number);
  };
  changed_.wait_for(lock, silence_, answered);
  const auto found = cancels_.find(number);
  const bool agreed = found != cancels_.end() && found->second.value_or(false);
  if (found != cancels_.end()) cancels_.erase(found);
  if (!agreed) return task.cancelled();
  link->sent.erase(number);
  return cancelled() || task.cancelled();
}

void Fleet::fail_unfinished(const std::shared_ptr<const Failure>& failure) {
  const auto fail = [&](Task& task) {
    task.pool_word = 0;
    if (task.resolve(pool::failed(failure))) ++counts_.failed;
  };
  for (const TaskPtr& task : backlog_.take_all()) fail(*task);
  for (const auto& link : links_) {
    const auto sent = std::move(link->sent);
    link->sent.clear();
    for (const auto& [number, item] : sent) fail(*item.task);
  }
  changed_.notify_all();
}

void Fleet::break_pool(const std::string& why) {
  if (broken_) return;
  broken_ = std::make_shared<pool::TextFailure<BrokenProcessPool>>(why);
  fail_unfinished(broken_);
}

bool Fleet::accepting() const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  return accepting_ && !broken_;
}

void Fleet::shutdown(const ShutdownOptions& options) {
  if (in_other_process()) return;
  Lock lock(mutex_);
  accepting_ = false;
  if (options.kill_workers && !killing_) {
    killing_ = true;
    fail_unfinished(std::make_shared<pool::TextFailure<ShutdownExecutorError>>(
        "it was not finished when the executor was shut down with kill_workers"));
  } else if (options.cancel_futures) {
    for (const TaskPtr& task : backlog_.take_all())
      if (task->resolve_cancelled()) ++counts_.cancelled;
    for (const auto& link : links_) {
      if (link->phase != LinkPhase::serving) continue;
      link->batch.push_to(link->queue, FrameType::tasks);
      for (const auto& [number, item] : link->sent)
        push_note(link->queue, FrameType::cancel, CancelNote{number, false});
    }
  }
  if (!thread_started_) return;
  wake();
  changed_.notify_all();
  if (!options.wait || thread_.get_id() == std::this_thread::get_id()) return;
  changed_.wait(lock, [&] { return thread_done_; });
  if (joined_) return;
  joined_ = true;
  std::thread thread = std::move(thread_);
  lock.unlock();
  thread.join();
}

void Fleet::resize(int max_workers) {
  if (max_workers < 1) throw std::invalid_argument(fmt::format("max_workers must be at least 1, not {}", max_workers));
  check_process();
  const Lock lock(mutex_);
  total_workers_ = max_workers;
  for (const auto& link : links_)
    if (link->phase == LinkPhase::serving) share_workers(*link);
  wake();
}

/// Whether it serves, or is worth waiting for. One that is not is still tried now and then, for as long as the pool
/// lives.
bool Fleet::is_hopeful(const Link& link) const {
  constexpr int believed = 5;  // a launcher that ends so often with the same exit code
  if (!link.may_serve()) return false;
  if (link.phase == LinkPhase::serving || link.failures == 0) return true;
  return link.refusals < believed && Clock::now() - link.missed_since < options_.reconnect_for;
}

/// Tells an agent how many workers of those that resize wanted are its own. Each that comes gets its share; the others
/// keep theirs until the next resize.
void Fleet::share_workers(Link& link) {
  if (!total_workers_) return;
  const auto hosts =
      std::max<std::ptrdiff_t>(1, std::ranges::count_if(links_, [&](const auto& other) { return is_hopeful(*other); }));
  link.workers = std::max(1, *total_workers_ / static_cast<int>(hosts));
  push_note(link.queue, FrameType::resize, link.workers);
}

int Fleet::max_workers() const {
  check_process();
  const Lock lock(mutex_);
  int serving = 0;
  int expected = 0;
  for (const auto& link : links_) {
    if (link->phase == LinkPhase::serving) serving += link->workers;
    expected += link->host.workers.value_or(options_.workers_per_host.value_or(1));
  }
  if (options_.slurm && !slurm_) expected += options_.slurm->nodes * options_.workers_per_host.value_or(1);
  return std::max(1, serving != 0 ? serving : total_workers_.value_or(expected));
}

void Fleet::add_counts(Stats& to, const Stats& of) {
  for (const auto count : {&Stats::retried, &Stats::deaths, &Stats::started}) to.*count += of.*count;
  for (const auto cause :
       {&DeathCounts::crashed, &DeathCounts::killed, &DeathCounts::exited, &DeathCounts::out_of_memory,
        &DeathCounts::over_memory_limit, &DeathCounts::misbehaved, &DeathCounts::timed_out, &DeathCounts::cancelled})
    to.deaths_by_cause.*cause += of.deaths_by_cause.*cause;
}

Stats Fleet::stats() const {
  check_process();
  const Lock lock(mutex_);
  Stats stats = counts_;
  for (const auto& link : links_) {
    for (const auto& [number, item] : link->sent) stats.running += item.started && !item.task->done();
    add_counts(stats, link->stats_before);
    add_counts(stats, link->stats);
    if (link->phase != LinkPhase::serving) continue;
    for (WorkerInfo worker : link->stats.workers) {
      worker.host = link->host.name;
      stats.workers.push_back(std::move(worker));
    }
  }
  pool::count_waiting(stats);
  return stats;
}

}  // namespace yoke::remote
