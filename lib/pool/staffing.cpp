// Staffing: starting workers, and letting them go. All but ask_to_leave and doom run on the watchdog.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <new>
#include <system_error>

#include "lib/pool/local_pool.hpp"
#include "lib/pool/log.hpp"
#include "lib/system/environment.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/worker_program.hpp"
#include "lib/wire/large_buffer.hpp"
#include "lib/wire/reducers.hpp"
#include "lib/worker/lifeline.hpp"
#include "lib/worker/worker_process.hpp"
#include "yoke/process.hpp"

namespace yoke::pool {
namespace {

constexpr std::chrono::milliseconds first_start_delay{10};  // after a failed launch; doubles
constexpr int most_failed_launches = 8;                     // for what never will be had
constexpr std::chrono::seconds launch_patience{20};         // without any worker, for what may yet be had
constexpr std::chrono::seconds kill_patience{60};  // from SIGKILL to the end of a worker that the kernel has busy

/// What a process may lack now and have later.
bool may_end_well(const std::error_code& error) {
  constexpr int lacks[] = {EMFILE, ENFILE, EAGAIN, ENOMEM, ENOBUFS, ENOSPC, ETXTBSY};
  return error.category() == std::system_category() && std::ranges::find(lacks, error.value()) != std::end(lacks);
}

std::vector<system::ResourceLimit> resource_limits(const Limits& limits) {
  std::vector<system::ResourceLimit> all;
  const auto add = [&](int resource, const std::optional<std::uint64_t>& value) {
    if (value) all.push_back({resource, static_cast<rlim_t>(*value)});
  };
  add(RLIMIT_CPU, limits.cpu_seconds);
  add(RLIMIT_AS, limits.address_space);
  add(RLIMIT_NOFILE, limits.open_files);
  add(RLIMIT_CORE, limits.core_size);
  add(RLIMIT_FSIZE, limits.file_size);
  add(RLIMIT_NPROC, limits.processes);
  return all;
}

/// Where numerical libraries read, as they start, how many threads they may have.
constexpr std::array thread_variables{"OMP_NUM_THREADS",  "OPENBLAS_NUM_THREADS",   "MKL_NUM_THREADS",
                                      "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
                                      "NUMBA_NUM_THREADS"};

/// So that the workers together have as many threads as there are processors, unless somebody wants it otherwise.
void limit_inner_threads(std::vector<std::pair<std::string, std::string>>& variables, const ExecutorOptions& options,
                         int threads) {
  for (const char* name : thread_variables)
    if (!options.env.contains(name) && (options.inner_max_num_threads || !system::variable(name)))
      variables.emplace_back(name, fmt::format("{}", options.inner_max_num_threads.value_or(threads)));
}

}  // namespace

std::size_t LocalPool::staff() const {
  return static_cast<std::size_t>(
      std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->on_staff(); }));
}

std::size_t LocalPool::spares() const {
  return static_cast<std::size_t>(std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) {
    return worker->spare && worker->mode == WorkerMode::serving;
  }));
}

/// The rank of one that is killed, or leaves with nothing to do, is free: its replacement may start before it is gone.
int LocalPool::lowest_free_rank(int from, const Worker* but) const {
  for (int rank = from;; ++rank)
    if (std::none_of(workers_.begin(), workers_.end(), [&](const auto& worker) {
          return worker.get() != but && worker->rank == rank && (worker->on_staff() || worker->spare);
        }))
      return rank;
}

/// Gives a worker that is about to start what it does before its first task. Without the lock.
void LocalPool::prepare(Worker& worker) const {
  static const Callable no_call{nullptr, &typeid(Reducers)};
  const Initializer& call = options_.initializer;
  const bool reduces = !job_reducers().empty() || !result_reducers().empty();
  if (!call && !reduces) return;
  const void* const target = call ? call.target() : nullptr;
  Bytes arguments = call ? call.arguments() : Bytes();
  bool introduced = true;
  if (reduces) {
    PackBuffer all;
    wire::describe_reducers(all, job_reducers(), result_reducers());
    for (const auto& held : memory_of(arguments)) all.hold(held.memory, all.size() + held.at);
    all.write(reinterpret_cast<const char*>(arguments.view().data()), arguments.size());
    arguments = all.take();
    for (const Reducers* reducers : {&job_reducers(), &result_reducers()})
      for (const auto reference : wire::references_of(*reducers)) introduced &= worker.channel.introduce(reference);
  }
  worker.initializer = new detail::TaskOf<void>(call ? call.callable() : no_call, target, std::move(arguments));
  const auto function = call ? wire::refer_to(reinterpret_cast<const void*>(call.callable().trampoline)) : 0;
  const auto flags = static_cast<std::uint8_t>(channel::flag_initializer | (reduces ? channel::flag_reducers : 0));
  using Push = channel::ParentChannel::Push;
  const Push pushed =
      introduced ? worker.channel.push(*worker.initializer, function, target ? wire::refer_to(target) : 0, flags)
                 : Push::broken;
  if (pushed == Push::lack)
    throw std::system_error(ENOBUFS, std::system_category(), "handing over the initializer's arguments");
  if (pushed != Push::done)
    throw Error("the initializer's arguments, or the reducers, could not be handed to the worker");
}

void LocalPool::start_worker(Lock& lock) {
  const bool spare = !needs_worker();
  const int rank = lowest_free_rank(spare ? max_workers_ : 0);
  const std::uint32_t spin = spin_looks_.load(std::memory_order_relaxed);
  const int max_workers = max_workers_;
  worker_is_wanted_ = false;
  lock.unlock();
  std::unique_ptr<Worker> worker;
  std::string trouble;
  bool passing = false;
  try {
    renew_life_notices();
    worker = std::make_unique<Worker>(rank, this_worker::depth() + 1, system::home_module().identity);
    worker->spare = spare;
    worker->channel.set_spin(spin);
    worker->channel.set_recycle_limit(recycle_limit());
    worker->channel.set_max_result(options_.max_result.value_or(0));
    worker->channel.watchdog_bell().arm();  // it rings when it is ready
    prepare(*worker);
    system::LaunchSpec spec;
    const system::WorkerProgram program = system::worker_program();
    spec.executable_fd = program.fd;
    spec.arguments = program.arguments;
    spec.keep_fds = {worker->channel.segment_fd(), worker->channel.worker_socket(), life_fd_.get()};
    std::vector<std::pair<std::string, std::string>> variables(options_.env.begin(), options_.env.end());
    limit_inner_threads(variables, options_, std::max(1, cpus_ / max_workers));
    variables.emplace_back(worker::bootstrap_variable,
                           fmt::format("{},{},{}", spec.keep_fds[0], spec.keep_fds[1], spec.keep_fds[2]));
    spec.environment = system::child_environment(variables, {});
    spec.limits = resource_limits(options_.limits);
    spec.no_new_privileges = !options_.new_privileges;
    if (output_) {
      const auto [out, err] = output_(rank);
      spec.stdio = {-1, out, err};
    }
    YOKE_FAULT_POINT(before_launch, 0);
    worker->process = system::launch(spec);
    YOKE_FAULT_POINT(after_launch, worker->process.pid());
    worker->channel.close_worker_ends();
  } catch (const std::system_error& error) {
    trouble = error.what();
    passing = may_end_well(error.code());
  } catch (const std::bad_alloc& error) {
    trouble = error.what();
    passing = true;
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  lock.lock();
  if (!trouble.empty()) {
    launch_failed(trouble, passing);
    return;
  }
  failed_launches_ = 0;
  launches_fail_since_.reset();
  next_start_.reset();
  ++counts_.started;
  log(LogLevel::info, "started worker {} (pid {})", rank, worker->process.pid());
  worker->started_at = worker->idle_since = Clock::now();
  if (tell_) tell_({EventKind::worker_started, worker->idle_since, worker->process.pid(), rank});
  workers_.push_back(std::move(worker));
  YOKE_FAULT_POINT(launch_settled, workers_.back()->process.pid());
  if (killing_ || broken_) doom(*workers_.back(), Doom::wanted);
  dispatch();
}

/// Tries again after a while. With no worker at all it gives up what waits, in the end; where the trouble may pass, the
/// next submit is tried anew, and otherwise nothing can ever run.
void LocalPool::launch_failed(const std::string& trouble, bool passing) {
  ++failed_launches_;
  const auto now = Clock::now();
  if (!launches_fail_since_) launches_fail_since_ = now;
  log(LogLevel::info, "could not start a worker (try {}): {}", failed_launches_, trouble);
  next_start_ = now + first_start_delay * (1 << std::min(failed_launches_, 6));
  if (staff() != 0) return;
  const std::string text = fmt::format("no worker process could be started in {} tries: {}", failed_launches_, trouble);
  if (!passing && failed_launches_ >= most_failed_launches)
    break_pool(std::make_shared<TextFailure<BrokenProcessPool>>(text));
  if (!passing || now - *launches_fail_since_ < std::min<Clock::duration>(launch_patience, options_.start_timeout))
    return;
  const auto failure = std::make_shared<TextFailure<Error>>(text);
  for (const TaskPtr& task : backlog_.take_all()) {
    history_of_.erase(task.get());
    if (task->resolve(failed(failure))) ++counts_.failed;
  }
  launches_fail_since_.reset();
}

/// Workers beyond max_workers, idle for too long, or no longer needed, are asked to leave.
void LocalPool::retire_surplus(Clock::time_point now) {
  const bool closing = !accepting_ && backlog_.empty();
  auto surplus =
      std::count_if(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->takes_tasks(); }) -
      max_workers_;
  for (const bool only_idle : {true, false}) {
    for (const auto& worker : workers_) {
      if (surplus <= 0) break;
      if (!worker->takes_tasks() || (only_idle && !worker->idle())) continue;
      take_back_unstarted(*worker);
      ask_to_leave(*worker);
      --surplus;
    }
  }
  for (const auto& worker : workers_) {
    if (worker->mode != WorkerMode::serving) continue;
    if (worker->channel.too_large()) {
      take_back_unstarted(*worker);
      ask_to_leave(*worker);
    }
    if (worker->spare && staff() != 0) worker->idle_since = now;  // it leaves some time after the last of the others
    if (worker->idle() && (closing || now >= leaves_at(*worker))) ask_to_leave(*worker);
  }
}

/// When an idle worker has been idle for too long. One that starts up is not: else a pool whose workers need longer for
/// their start than they may be idle would start them for ever.
Clock::time_point LocalPool::leaves_at(const Worker& worker) const {
  if (!options_.timeout || options_.spawn_eagerly || !worker.was_ready || (worker.spare && staff() != 0))
    return Clock::time_point::max();
  return time_after(worker.idle_since, *options_.timeout);
}

/// Once what it has is done, it ends by itself.
void LocalPool::ask_to_leave(Worker& worker) {
  if (worker.mode != WorkerMode::serving) return;
  worker.mode = WorkerMode::leaving;
  fully_staffed_ = false;
  log(LogLevel::debug, "asked worker {} (pid {}) to leave", worker.rank, worker.process.pid());
  worker.channel.ask_to_stop();
  YOKE_FAULT_POINT(asked_to_leave, worker.process.pid());
  wake_watchdog();
}

/// Ends it: at once, or with SIGTERM first where its task may have something to put in order. What it has not started
/// goes to others. Who is doomed already is only hurried; the first cause stays.
void LocalPool::doom(Worker& worker, Doom cause, const std::string& reason) {
  const bool gently = cause == Doom::cancelled || cause == Doom::timed_out;
  if (worker.mode != WorkerMode::doomed) {
    worker.mode = WorkerMode::doomed;
    fully_staffed_ = false;
    worker.doom = cause;
    worker.doom_reason = reason;
    if (cause == Doom::misbehaved || cause == Doom::over_memory) blame_first(worker);
    take_back_unstarted(worker);
    if (gently) {
      worker.process.signal(SIGTERM);  // if that may not be sent, SIGKILL tells
      worker.kill_at = time_after(Clock::now(), options_.kill_grace);
    }
  }
  if (!gently) kill(worker);
  wake_watchdog();
}

/// At once. A worker to which no signal may be sent, since it has other rights than this process by now or a filter
/// forbids it, is asked to end itself; in the end it is given up, so that nobody waits for it for ever.
void LocalPool::kill(Worker& worker) {
  worker.kill_at.reset();
  worker.cannot_be_killed = worker.process.signal_group(SIGKILL);
  if (!worker.give_up_at)
    worker.give_up_at =
        worker.cannot_be_killed ? time_after(Clock::now(), options_.kill_grace) : Clock::now() + kill_patience;
  if (!worker.cannot_be_killed || !life_page_) return;
  worker.channel.ask_to_end();
  for (const auto& notice : *reinterpret_cast<const worker::ParentLife*>(life_page_.data()))
    system::futex_wake(system::life_word(notice), INT_MAX, system::Sharing::shared);
}

/// Who was asked to end and has not, is killed.
void LocalPool::advance_ladders(Clock::time_point now) {
  for (const auto& worker : workers_) {
    if (worker->mode == WorkerMode::leaving && worker->idle() && !worker->kill_at)
      worker->kill_at = time_after(now, options_.kill_grace);
    if (worker->cannot_be_killed)
      kill(*worker);  // its lifeline may have been about to sleep
    else if (worker->kill_at && now >= *worker->kill_at)
      doom(*worker, Doom::wanted);
  }
}

}  // namespace yoke::pool
