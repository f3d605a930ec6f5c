// Tasks to agents.
#include <fmt/format.h>

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <utility>

#include "lib/pool/failure.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/modules.hpp"

namespace yoke::remote {

using namespace protocol;

void Fleet::dispatch() {
  if (backlog_.empty()) return;
  boost::container::small_vector<HostView, 8> hosts;
  bool other_builds = false;
  for (const auto& link : links_) {
    hosts.push_back(link->host_view());
    other_builds |= hosts.back().takes_tasks && !hosts.back().same_build;
  }
  while (Task* next = backlog_.front()) {
    const auto host = choose_host({hosts.data(), hosts.size()}, run_times_.mean_ns(), other_builds && has_name(*next));
    if (!host && !will_never_run(*next)) return;
    const TaskPtr task(next);
    backlog_.pop();
    if (host) {
      give(*links_[*host], task);
      hosts[*host] = links_[*host]->host_view();
      continue;
    }
    ++counts_.failed;
    task->resolve(pool::failed(
        std::make_shared<pool::TextFailure<Error>>("every host runs another build of the program, which has only its "
                                                   "named tasks (YOKE_TASK) in common with this "
                                                   "one. Put the same build there, or set deploy")));
  }
}

/// Hosts serve, of which none can ever run it.
bool Fleet::will_never_run(const Task& task) const {
  if (std::ranges::none_of(links_, [](const auto& link) { return link->serves(); }) || has_name(task)) return false;
  if (options_.slurm && (!slurm_ || slurm_->nodes().empty())) return false;
  return std::ranges::none_of(
      links_, [&](const auto& link) { return is_hopeful(*link) && (!link->serves() || link->same_build()); });
}

void Fleet::give(Link& link, TaskPtr task) {
  const TaskNumber number = ++last_number_;
  try {
    const FunctionNumber function = functions_.number_of(task->callable(), task->target());
    link.introduce(function, functions_);
    TaskNote note{number, function, {}, {}, {}};
    const SharedMemory* last = nullptr;  // a bound array is in the arguments once for each item
    BlockNumber block = 0;
    for (const auto& held : memory_of(task->arguments())) {
      if (held.memory.get() != last) {
        block = blocks_.number_of(*held.memory);
        link.tell_block(block, held.memory);
      }
      note.places.push_back({held.at, block});
      last = held.memory.get();
    }
    if (task->has_options()) {
      const TaskOptions& options = task->options();
      note.terms.emplace();
      if (options.timeout) note.terms->timeout_ms = options.timeout->count();
      note.terms->retries = options.retries - static_cast<int>(task->attempts);
      note.terms->priority = options.priority;
    }
    link.send_task(std::move(note), task);
    task->pool_word = (static_cast<std::uint64_t>(link.index()) + 1) << 48 | number;
  } catch (const std::exception& error) {
    ++counts_.failed;
    task->resolve(pool::failed(std::make_shared<pool::TextFailure<SerializationError>>(
        fmt::format("it could not be sent to host {}: {}", link.host().name, error.what()))));
  }
}

/// The first frames to an agent.
void Fleet::send_hello(Link& link) {
  Hello hello;
  hello.heartbeat_ms = options_.heartbeat.count();
  hello.silence_ms = silence_of_agent(options_.lease, options_.heartbeat).count();
  hello.forward_output = static_cast<bool>(options_.on_output);
  hello.identity = system::home_module().identity;
  hello.settings = settings_of(options_.worker);
  const int most = std::max(1, link.welcome().workers);
  hello.settings.max_workers = link.host().workers ? link.host().workers : options_.workers_per_host;
  if (!hello.settings.max_workers && link.processors())
    hello.settings.max_workers = std::clamp(*link.processors(), 1, most);
  std::optional<FunctionNumber> initial;
  if (const Initializer& call = options_.worker.initializer) {
    initial = functions_.number_of(call.callable(), call.target());
    const auto arguments = call.arguments().view();
    const auto* begin = reinterpret_cast<const std::uint8_t*>(arguments.data());
    hello.initializer = InitialCall{*initial, {begin, begin + arguments.size()}};
  }
  link.send_hello(hello);
  if (initial) link.introduce(*initial, functions_);
  link.set_workers(hello.settings.max_workers.value_or(most));
  share_workers(link);
}

/// After a submit: at once to agents with little to do; the rest goes with what else comes until the thread is awake.
void Fleet::flush_or_wake() {
  bool wanted = !backlog_.empty() && std::ranges::none_of(links_, [](const auto& link) { return link->alive(); });
  for (const auto& link : links_) {
    if (!link->has_unwritten()) continue;
    if (link->tasks().size() <= 2 * static_cast<std::size_t>(link->workers())) link->flush();
    wanted |= link->has_unwritten();
  }
  if (wanted) wake();
}

}  // namespace yoke::remote
