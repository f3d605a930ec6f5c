// What a worker is started with.
#include "lib/local/worker_starter.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "lib/channel/layout.hpp"
#include "lib/system/environment.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/lack.hpp"
#include "lib/system/worker_program.hpp"
#include "lib/wire/large_buffer.hpp"
#include "lib/wire/reducers.hpp"
#include "lib/worker/worker_process.hpp"
#include "yoke/future.hpp"
#include "yoke/process.hpp"

namespace yoke::local {
namespace {

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

std::uint64_t recycle_limit(const ExecutorOptions& options) {
  constexpr auto none = std::numeric_limits<std::size_t>::max();
  const std::size_t limit =
      std::min(options.recycle_worker_memory.value_or(none), options.max_worker_memory.value_or(none));
  return limit == none ? 0 : std::max<std::uint64_t>(limit, 1);
}

WorkerStarter::WorkerStarter(const ExecutorOptions& options, LifeNotices& notices, WorkerOutput output, Launch launch)
    : options_(options),
      notices_(notices),
      output_(std::move(output)),
      launch_(launch ? std::move(launch) : system::launch),
      cpus_(cpu_count()) {}

/// What the worker does before its first task.
void WorkerStarter::give_initializer(Worker& worker) const {
  static const Callable no_call{nullptr, &typeid(Reducers)};
  const Initializer& call = options_.initializer;
  const bool reduces = !options_.job_reducers.empty() || !options_.result_reducers.empty();
  if (!call && !reduces) return;
  const void* const target = call ? call.target() : nullptr;
  Bytes arguments = call ? call.arguments() : Bytes();
  bool introduced = true;
  if (reduces) {
    PackBuffer all;
    wire::describe_reducers(all, options_.job_reducers, options_.result_reducers);
    for (const auto& held : memory_of(arguments)) all.hold(held.memory, all.size() + held.at);
    all.write(reinterpret_cast<const char*>(arguments.view().data()), arguments.size());
    arguments = all.take();
    for (const Reducers* reducers : {&options_.job_reducers, &options_.result_reducers})
      for (const auto reference : wire::references_of(*reducers)) introduced &= worker.channel.introduce(reference);
  }
  const TaskPtr task(new detail::TaskOf<void>(call ? call.callable() : no_call, target, std::move(arguments)));
  worker.set_initializer(task);
  const auto function = call ? wire::refer_to(reinterpret_cast<const void*>(call.callable().trampoline)) : 0;
  const auto flags = static_cast<std::uint8_t>(channel::flag_initializer | (reduces ? channel::flag_reducers : 0));
  using Push = channel::ParentChannel::Push;
  const Push pushed =
      introduced ? worker.channel.push(*task, function, target ? wire::refer_to(target) : 0, flags) : Push::broken;
  if (pushed == Push::lack)
    throw std::system_error(ENOBUFS, std::system_category(), "handing over the initializer's arguments");
  if (pushed != Push::done)
    throw Error("the initializer's arguments, or the reducers, could not be handed to the worker");
}

std::unique_ptr<Worker> WorkerStarter::make(const Order& order) {
  notices_.renew();
  auto worker =
      std::make_unique<Worker>(order.rank, order.reserve, this_worker::depth() + 1, system::home_module().identity);
  channel::ParentChannel& channel = worker->channel;
  channel.set_spin(order.spin);
  channel.set_recycle_limit(recycle_limit(options_));
  channel.set_max_result(options_.max_result.value_or(0));
  channel.watchdog_bell().arm();  // it rings when it is ready
  give_initializer(*worker);
  system::LaunchSpec spec;
  const system::WorkerProgram program = system::worker_program();
  spec.executable_fd = program.fd;
  spec.arguments = program.arguments;
  spec.keep_fds = {channel.segment_fd(), channel.worker_socket(), notices_.fd()};
  std::vector<std::pair<std::string, std::string>> variables(options_.env.begin(), options_.env.end());
  limit_inner_threads(variables, options_, std::max(1, cpus_ / order.max_workers));
  variables.emplace_back(worker::bootstrap_variable,
                         fmt::format("{},{},{}", spec.keep_fds[0], spec.keep_fds[1], spec.keep_fds[2]));
  spec.environment = system::child_environment(variables, {});
  spec.limits = resource_limits(options_.limits);
  spec.no_new_privileges = !options_.new_privileges;
  if (output_) {
    const auto [out, err] = output_(order.rank);
    spec.stdio = {-1, out, err};
  }
  YOKE_FAULT_POINT(before_launch, 0);
  worker->process = launch_(spec);
  YOKE_FAULT_POINT(after_launch, worker->pid());
  channel.close_worker_ends();
  return worker;
}

WorkerStarter::Started WorkerStarter::start(const Order& order) noexcept {
  try {
    return {make(order), {}, false};
  } catch (const std::system_error& error) {
    return {nullptr, error.what(), system::may_pass(error.code())};
  } catch (const std::bad_alloc& error) {
    return {nullptr, error.what(), true};
  } catch (const std::exception& error) {
    return {nullptr, error.what(), false};
  }
}

}  // namespace yoke::local
