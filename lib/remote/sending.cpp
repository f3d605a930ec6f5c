// Tasks to agents.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lib/pool/failure.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/modules.hpp"
#include "lib/wire/function_table.hpp"
#include "yoke/named_task.hpp"

namespace yoke::remote {

using namespace protocol;

namespace {

constexpr double ahead_ns = 10e6;           // of work that a worker has waiting for it on its host
constexpr double most_ahead = 4096;         // tasks
constexpr std::size_t most_queued_bytes = std::size_t{8}
                                          << 20;  // then a link takes no more tasks until some are written

std::vector<std::uint8_t> bytes_of(std::span<const std::byte> from) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(from.data());
  return {begin, begin + from.size()};
}

}  // namespace

/// The number under which links are told of it. Throws yoke::Error if no other process can find it.
FunctionNumber Fleet::number_of(const Callable& callable, const void* target) {
  // What was unloaded may have another in its place.
  if (const auto loads = system::load_count(); std::exchange(loads_, loads) != loads) numbers_.clear();
  const auto [found, is_new] = numbers_[&callable].try_emplace(target, static_cast<FunctionNumber>(functions_.size()));
  if (!is_new) return found->second;
  try {
    Function function;
    function.note.number = found->second;
    function.note.chunk = callable.chunk;
    for (const NamedTask* task : named_tasks())
      if (task->callable == &callable || task->chunk_callable == &callable) {
        function.note.task = task->name;
        function.note.chunk = task->chunk_callable == &callable;
      }
    const auto refer = [&](const void* code) {
      const wire::FunctionReference reference = wire::refer_to(code);
      const std::uint32_t module = wire::module_number(reference);
      if (module != 1 && std::ranges::find(function.modules, module) == function.modules.end())
        function.modules.push_back(module);
      return reference;
    };
    function.note.trampoline = refer(reinterpret_cast<const void*>(callable.trampoline));
    if (target) function.note.target = refer(target);
    functions_.push_back(std::move(function));
  } catch (...) {
    numbers_[&callable].erase(target);
    throw;
  }
  return found->second;
}

bool Fleet::is_named(const Task& task) const {
  return std::ranges::any_of(named_tasks(), [&](const NamedTask* named) {
    return named->callable == &task.callable() || named->chunk_callable == &task.callable();
  });
}

/// What an agent gets ahead: little while its tasks are long, so that they stay free to go elsewhere.
std::size_t Fleet::window(const Link& link) const {
  const double ahead = mean_task_ns_ == 0 ? 0 : std::min(ahead_ns / mean_task_ns_, most_ahead);
  return static_cast<std::size_t>(link.workers) * (1 + static_cast<std::size_t>(ahead));
}

/// The one whose workers have least to do; null if none has room.
Link* Fleet::choose_link(const Task& task) {
  Link* best = nullptr;
  const auto load = [](const Link& link) { return static_cast<double>(link.sent.size()) / link.workers; };
  for (const auto& link : links_) {
    if (link->phase != LinkPhase::serving || link->write_failed) continue;
    if (link->sent.size() >= window(*link) || link->queue.bytes() >= most_queued_bytes) continue;
    if (!link->same_build && !is_named(task)) continue;
    if (!best || load(*link) < load(*best)) best = link.get();
  }
  return best;
}

void Fleet::dispatch() {
  while (Task* next = backlog_.front()) {
    Link* const link = choose_link(*next);
    if (!link) {
      const bool may_come = (options_.slurm && (!slurm_ || slurm_->nodes().empty())) ||
                            std::ranges::any_of(links_, [&](const auto& other) {
                              return is_hopeful(*other) && (other->phase != LinkPhase::serving || other->same_build);
                            });
      const bool one_serves =
          std::ranges::any_of(links_, [](const auto& other) { return other->phase == LinkPhase::serving; });
      if (!one_serves || may_come || is_named(*next)) return;
      const TaskPtr task(next);
      backlog_.pop();
      ++counts_.failed;
      task->resolve(pool::failed(
          std::make_shared<pool::TextFailure<Error>>("every host runs another build of the program, which has only its "
                                                     "named tasks (YOKE_TASK) in common with this "
                                                     "one. Put the same build there, or set deploy")));
      continue;
    }
    TaskPtr task(next);
    backlog_.pop();
    give(*link, std::move(task));
  }
}

void Fleet::give(Link& link, TaskPtr task) {
  const TaskNumber number = ++last_number_;
  try {
    const FunctionNumber function = number_of(task->callable(), task->target());
    introduce(link, function);
    TaskNote note{number, function, {}, {}, {}};
    const SharedMemory* last = nullptr;  // a bound array is in the arguments once for each item
    for (const auto& held : memory_of(task->arguments())) {
      const BlockNumber block = held.memory.get() == last ? note.places.back().block : tell_block(link, held.memory);
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
    const Bytes& arguments = task->arguments();
    if (arguments.size() >= large_bytes) {
      link.batch.push_to(link.queue, FrameType::tasks);
      push_note(link.queue, FrameType::large_task, note, arguments);
    } else {
      note.arguments.bytes = arguments.view();
      link.batch.add(note);
      if (link.batch.bytes() >= most_batch_bytes) link.batch.push_to(link.queue, FrameType::tasks);
    }
    task->pool_word = (static_cast<std::uint64_t>(link.index) + 1) << 48 | number;
    link.sent.emplace(number, Link::Sent{task, false});
  } catch (const std::exception& error) {
    ++counts_.failed;
    task->resolve(pool::failed(std::make_shared<pool::TextFailure<SerializationError>>(
        fmt::format("it could not be sent to host {}: {}", link.host.name, error.what()))));
  }
}

/// Tells the agent of a function, and of modules, before the first task that calls it.
void Fleet::introduce(Link& link, FunctionNumber function) {
  if (link.knows_function.size() <= function) link.knows_function.resize(function + 1);
  if (link.knows_function[function]) return;
  link.batch.push_to(link.queue, FrameType::tasks);
  for (const std::uint32_t module : functions_[function].modules) {
    if (link.knows_module.size() <= module) link.knows_module.resize(module + 1);
    if (link.knows_module[module]) continue;
    push_note(link.queue, FrameType::module, ModuleNote{module, bytes_of(wire::describe_module(module))});
    link.knows_module[module] = true;
  }
  push_note(link.queue, FrameType::function, functions_[function].note);
  link.knows_function[function] = true;
}

/// Sends the agent a block that it does not have.
BlockNumber Fleet::tell_block(Link& link, const std::shared_ptr<SharedMemory>& block) {
  const BlockNumber number = blocks_.number_of(*block);
  if (link.blocks.contains(number)) return number;
  link.batch.push_to(link.queue, FrameType::tasks);
  push_note(link.queue, FrameType::keep_block, BlockNote{number}, payload_of(block));
  link.blocks.emplace(number, block);
  return number;
}

/// Tells the agent which blocks no task will name any more.
void Fleet::drop_blocks(Link& link) {
  std::erase_if(link.blocks, [&](const auto& item) {
    if (!item.second.expired()) return false;
    push_note(link.queue, FrameType::drop_block, BlockNote{item.first});
    return true;
  });
}

/// The first frames to an agent.
void Fleet::greet(Link& link) {
  Hello hello;
  hello.heartbeat_ms = options_.heartbeat.count();
  hello.silence_ms = silence_of_agent(options_.lease, options_.heartbeat).count();
  hello.forward_output = static_cast<bool>(options_.on_output);
  hello.identity = system::home_module().identity;
  hello.settings = settings_of(options_.worker);
  hello.settings.max_workers = link.host.workers ? link.host.workers : options_.workers_per_host;
  if (!hello.settings.max_workers && link.processors)
    hello.settings.max_workers = std::clamp(*link.processors, 1, std::max(1, link.welcome.workers));
  std::optional<FunctionNumber> initial;
  if (const Initializer& call = options_.worker.initializer) {
    initial = number_of(call.callable(), call.target());
    hello.initializer = InitialCall{*initial, bytes_of(call.arguments().view())};
  }
  push_note(link.queue, FrameType::hello, hello);
  if (initial) introduce(link, *initial);
  link.workers = hello.settings.max_workers.value_or(std::max(1, link.welcome.workers));
  share_workers(link);
}

void Fleet::flush(Link& link) {
  if (!link.carrier || link.write_failed) return;
  link.batch.push_to(link.queue, FrameType::tasks);
  if (link.queue.empty()) return;
  try {
    link.queue.write_some(link.carrier->to());
  } catch (const std::exception&) {
    link.write_failed = true;  // why, the fleet's thread reads
  }
}

/// After a submit: at once to agents with little to do; the rest goes with what else comes until the thread is awake.
void Fleet::flush_or_wake() {
  bool wanted = !backlog_.empty() && std::ranges::none_of(links_, [](const auto& link) { return link->alive(); });
  for (const auto& link : links_) {
    if (link->batch.empty() && link->queue.empty()) continue;
    if (link->sent.size() <= 2 * static_cast<std::size_t>(link->workers)) flush(*link);
    wanted |= !link->batch.empty() || !link->queue.empty();
  }
  if (wanted) wake();
}

}  // namespace yoke::remote
