#include "lib/worker/task_loop.hpp"

#include <unistd.h>

#include <chrono>
#include <exception>

#include "lib/system/fault_point.hpp"
#include "lib/system/fork_guard.hpp"
#include "lib/system/memory_pressure.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/wire/reducers.hpp"
#include "lib/wire/throw_place.hpp"
#include "lib/worker/lifeline.hpp"
#include "yoke/call.hpp"
#include "yoke/map.hpp"

namespace yoke::worker {
namespace {

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

/// Of the results of the pool that this worker belongs to; told before its first task.
Reducers& told_reducers() {
  static auto* all = new Reducers;  // used until the very end
  return *all;
}

class RunningTask final : public Call {
 public:
  RunningTask(channel::WorkerChannel& channel, std::span<const std::byte> arguments, const void* target,
              PackBuffer& result, std::int64_t started_ns, std::uint32_t first_item = 0)
      : Call(arguments, target, result, channel.status().phase, &told_reducers()),
        channel_(channel),
        started_ns_(started_ns),
        ended_ns_(started_ns) {
    begin_at(first_item);
  }

  void publish() override { publish(leaves_rest() ? channel::ResultKind::part : channel::ResultKind::value); }
  void begin_items(std::uint32_t value_size) override {
    end_fork();
    channel_.begin_items(value_size);
    keep_values_at(channel_.keeping());
  }
  bool keep_item(std::span<const std::byte> value, std::span<const std::byte> error) override {
    end_fork();
    // Shared memory that a value speaks of reaches the parent with a result only.
    const bool room = result().held().empty() && channel_.keep_item(value, error);
    keep_values_at(channel_.keeping());
    return room;
  }
  void publish(channel::ResultKind kind) {
    end_fork();
    YOKE_FAULT_POINT(before_publish);
    ended_ns_ = now_ns();
    const auto elapsed = static_cast<std::uint64_t>(ended_ns_ - started_ns_);
    channel_.publish(kind, result(), static_cast<std::uint32_t>(std::min<std::uint64_t>(elapsed, UINT32_MAX)));
    published_ = true;
    enter(Phase::finish);
  }
  bool published() const noexcept { return published_; }
  std::int64_t ended_ns() const noexcept { return ended_ns_; }

 private:
  /// The task forked, and this is the fork, come out of the function: the result is the worker's to give, and so are
  /// the tasks to come. What the program registered for its exit is the worker's too.
  void end_fork() const noexcept {
    if (generation_ != system::fork_generation()) ::_exit(0);
  }

  channel::WorkerChannel& channel_;
  const unsigned generation_ = system::fork_generation();
  std::int64_t started_ns_;
  std::int64_t ended_ns_;
  bool published_ = false;
};

void publish_exception(channel::WorkerChannel& channel, RunningTask& task) {
  const auto phase = static_cast<Phase>(channel.status().phase.load(std::memory_order_relaxed));
  task.result().truncate(0);
  detail::pack_current_exception(task.result(), phase);
  try {
    task.publish(channel::ResultKind::exception);
  } catch (const std::exception&) {  // no memory for a long text
    task.result().truncate(0);
    detail::pack_current_exception(task.result(), Phase::encode);
    task.publish(channel::ResultKind::exception);
  }
}

/// Returns false if the task threw. `time` is when it starts, and afterwards when it ended.
bool run_task(channel::WorkerChannel& channel, const channel::TaskSlot& slot, std::int64_t& time) {
  channel::WorkerStatus& status = channel.status();
  const std::int64_t started = time;
  status.started_ns.store(started, std::memory_order_relaxed);
  status.position.store(channel.position() + 1, std::memory_order_release);  // the time above is this task's
  status.phase.store(static_cast<std::uint8_t>(Phase::decode), std::memory_order_relaxed);
  PackBuffer result;
  result.lend_when_long();
  bool threw = false;
  wire::forget_throws();
  try {
    std::span<const std::byte> arguments = channel.arguments(slot);
    if ((slot.flags & channel::flag_reducers) != 0)
      told_reducers() = wire::learn_reducers(arguments, [&](auto reference) { return channel.resolve(reference); });
    const auto function = reinterpret_cast<Trampoline>(const_cast<void*>(channel.resolve(slot.function)));
    RunningTask task(channel, arguments, channel.resolve(slot.target), result, started, slot.first_item);
    YOKE_FAULT_POINT(before_decode);
    try {
      function ? function(task) : task.publish();
    } catch (...) {
      if (task.published()) std::terminate();  // from a destructor of an argument: nobody could be told
      threw = true;
      publish_exception(channel, task);
    }
    time = task.ended_ns();
  } catch (const std::exception&) {
    if (threw) throw;
    // not even begun: its function or its arguments cannot be had here
    threw = true;
    RunningTask task(channel, {}, nullptr, result, started);
    publish_exception(channel, task);
  }
  YOKE_FAULT_POINT(task_finished);
  // No read-modify-write: nobody else writes it, and the processor would wait for what was published.
  status.tasks_done.store(status.tasks_done.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return !threw;
}

/// Memory that is kept for the next task is given back here, between two tasks, and where the worker waits for one.
class Housekeeper final : public system::warm_memory::Keeper {
 public:
  explicit Housekeeper(channel::WorkerChannel& channel) : channel_(channel) { system::warm_memory::join(*this); }
  ~Housekeeper() override { system::warm_memory::leave(*this); }
  void warm_memory_came() noexcept override {}  // it is looked for
  void look(std::int64_t now) {
    if (now - last_ < std::chrono::nanoseconds(interval).count()) return;
    last_ = now;
    channel_.read_news();
    if (system::warm_memory::any()) system::warm_memory::trim(interval);
  }

 private:
  static constexpr std::chrono::seconds interval{1};
  channel::WorkerChannel& channel_;
  std::int64_t last_ = 0;
};

/// When what the last task needed is given back: memory that is still there has leaked.
void check_own_memory(channel::WorkerChannel& channel) {
  const std::uint64_t limit = channel.recycle_above();
  if (limit != 0 && system::memory_use(::getpid()).own > limit) channel.announce_unfit();
}

}  // namespace

void run_tasks(channel::WorkerChannel& channel) {
  Housekeeper housekeeper(channel);
  std::int64_t time = 0;  // one look at the clock a task: where one ends the next begins, unless the worker had to wait
  while (const channel::TaskSlot* slot = channel.next()) {
    if (channel.waited()) time = now_ns();
    if (channel.slept()) lifeline_follows();
    const bool needed = (slot->flags & channel::flag_initializer) != 0;
    if (!run_task(channel, *slot, time) && needed) {
      // the pool is broken: the parent has the reason and ends this process
      for (;;) ::pause();
    }
    if (needed) channel.wait_until_collected();  // the pool depends on it
    housekeeper.look(time);
    check_own_memory(channel);
  }
}

}  // namespace yoke::worker
