// The calls of the pool.
#include "lib/remote/fleet.hpp"

#include <fmt/format.h>

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

using namespace protocol;

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

void Fleet::start_thread() {
  if (thread_started_) return;
  system::look_at_environment();
  try {
    event_ = system::EventFd::make();
    thread_ = system::start_thread("yoke-remote", [self = shared_from_this()] { self->run(); });
  } catch (const std::system_error& error) {
    throw BrokenProcessPool(fmt::format("the pool's thread could not be started: {}", error.what()));
  }
  thread_started_ = true;
}

void Fleet::wake() noexcept {
  if (asleep_) event_.signal();
  asleep_ = false;
}

void Fleet::detach() noexcept {
  detached_ = true;
  // Nobody else starts the thread any more, so the descriptor is there now or never.
  if (event_ && !in_other_process()) event_.signal();
}

int Fleet::connect(Milliseconds timeout, int hosts) {
  check_process();
  Lock lock(mutex_);
  admission_.check();
  start_thread();
  const auto serving = [&] {
    return static_cast<int>(std::ranges::count_if(links_, [](const auto& link) { return link->serves(); }));
  };
  changed_.wait_for(lock, pool::bounded(timeout), [&] {
    const bool all_tried =
        std::ranges::none_of(links_, [&](const auto& link) { return !link->serves() && is_hopeful(*link); });
    const bool nodes_known = !options_.slurm || (slurm_ && slurm_->phase() != SlurmJob::Phase::requesting);
    return !admission_.accepts() || (hosts > 0 && serving() >= hosts) || (all_tried && nodes_known);
  });
  if (const auto& broken = admission_.broken()) std::rethrow_exception(broken->make(""));
  return serving();
}

std::vector<HostInfo> Fleet::hosts() const {
  check_process();
  const Lock lock(mutex_);
  std::vector<HostInfo> hosts;
  for (const auto& link : links_) hosts.push_back(link->info());
  if (options_.slurm && (!slurm_ || slurm_->nodes().empty()))
    hosts.push_back(
        {"slurm", slurm_may_come() ? HostState::waiting : HostState::ended, 0, 0, slurm_ ? slurm_->trouble() : ""});
  return hosts;
}

/// Nodes may still be granted.
bool Fleet::slurm_may_come() const {
  return options_.slurm && (!slurm_ || slurm_->phase() == SlurmJob::Phase::requesting);
}

void Fleet::submit(TaskPtr task) {
  check_process();
  if (const auto held = memory_of(task->arguments()); !held.empty()) {
    {
      const Lock lock(mutex_);
      admission_.check();
    }
    blocks_.replace(held);
  }
  const Lock lock(mutex_);
  admission_.check();
  functions_.number_of(task->callable(), task->target());  // throws if no other process can find it
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
  const Link::Sent* const sent = link->find(number_of(task));
  return sent && sent->started;
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
  link->send_cancel(number, mode == CancelMode::kill);
  link->flush();
  const auto answered = [&] {
    const auto found = cancels_.find(number);
    return task.done() || found == cancels_.end() || found->second || !link->find(number);
  };
  changed_.wait_for(lock, silence_, answered);
  const auto found = cancels_.find(number);
  const bool agreed = found != cancels_.end() && found->second.value_or(false);
  if (found != cancels_.end()) cancels_.erase(found);
  if (!agreed) return task.cancelled();
  link->erase(number);
  return cancelled() || task.cancelled();
}

void Fleet::fail_unfinished(const std::shared_ptr<const Failure>& failure) {
  const auto fail = [&](Task& task) {
    task.pool_word = 0;
    if (task.resolve(pool::failed(failure))) ++counts_.failed;
  };
  for (const TaskPtr& task : backlog_.take_all()) fail(*task);
  for (const auto& link : links_)
    for (const auto& [number, sent] : link->drop_tasks()) fail(*sent.task);
  changed_.notify_all();
}

void Fleet::break_pool(const std::string& why) {
  if (!admission_.break_with(std::make_shared<pool::TextFailure<BrokenProcessPool>>(why))) return;
  fail_unfinished(admission_.broken());
}

bool Fleet::accepting() const {
  if (in_other_process()) return false;
  const Lock lock(mutex_);
  return admission_.accepts();
}

void Fleet::shutdown(const ShutdownOptions& options) {
  if (in_other_process()) return;
  Lock lock(mutex_);
  admission_.close();
  if (options.kill_workers && admission_.kill()) {
    fail_unfinished(pool::Admission::failure_of_killed());
  } else if (options.cancel_futures) {
    for (const TaskPtr& task : backlog_.take_all())
      if (task->resolve_cancelled()) ++counts_.cancelled;
    for (const auto& link : links_)
      if (link->serves())
        for (const auto& [number, sent] : link->tasks()) link->send_cancel(number, false);
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
    if (link->serves()) share_workers(*link);
  wake();
}

bool Fleet::any_is_hopeful() const {
  return std::ranges::any_of(links_, [&](const auto& link) { return is_hopeful(*link); });
}

/// Tells an agent how many workers of those that resize wanted are its own. Each that comes gets its share; the others
/// keep theirs until the next resize.
void Fleet::share_workers(Link& link) {
  if (!total_workers_) return;
  const auto hosts =
      std::max<std::ptrdiff_t>(1, std::ranges::count_if(links_, [&](const auto& other) { return is_hopeful(*other); }));
  link.send_workers(std::max(1, *total_workers_ / static_cast<int>(hosts)));
}

int Fleet::max_workers() const {
  check_process();
  const Lock lock(mutex_);
  int serving = 0;
  int expected = 0;
  for (const auto& link : links_) {
    if (link->serves()) serving += link->workers();
    expected += link->host().workers.value_or(options_.workers_per_host.value_or(1));
  }
  if (options_.slurm && !slurm_) expected += options_.slurm->nodes * options_.workers_per_host.value_or(1);
  return std::max(1, serving != 0 ? serving : total_workers_.value_or(expected));
}

Stats Fleet::stats() const {
  check_process();
  const Lock lock(mutex_);
  Stats stats = counts_;
  for (const auto& link : links_) link->add_stats(stats);
  pool::count_waiting(stats);
  return stats;
}

}  // namespace yoke::remote
