// WorkerChannel: the worker's end of what lies between it and its parent.
//
// Used by the worker's main thread alone. The parent is trusted. A worker sleeps only on its doorbell; the lifeline
// thread ends it when the parent dies.
//
// Memory of large arguments, and shared memory: the parent sends each once, and says when it is to go. Before a task
// the worker has read all that was sent until then, so that what the parent takes for known is known. Where a
// descriptor was missing it says so in memory_missed.
//
// Memory of large results: the memfd in which a result was packed is lent (wire/large_buffer.hpp) and not used again
// before the parent has fetched the result and closed it.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "lib/channel/arena_ring.hpp"
#include "lib/channel/control_socket.hpp"
#include "lib/channel/doorbell.hpp"
#include "lib/channel/layout.hpp"
#include "lib/system/memfd.hpp"
#include "lib/wire/function_table.hpp"
#include "lib/wire/large_buffer.hpp"
#include "yoke/call.hpp"
#include "yoke/pack_buffer.hpp"

namespace yoke::channel {

class WorkerChannel {
 public:
  /// Takes the descriptors over. Throws std::system_error.
  WorkerChannel(system::UniqueFd segment, system::UniqueFd socket);

  const Bootstrap& bootstrap() const noexcept { return segment_->bootstrap; }
  pthread_mutex_t& life() noexcept { return segment_->life; }
  WorkerStatus& status() noexcept { return segment_->status; }
  BlackBox& black_box() noexcept { return segment_->black_box; }
  /// Start-up is over. Throws std::system_error.
  void announce_ready();
  /// Returns once the parent has copied the result of the task that ran last, which no later task can change then.
  void wait_until_collected() const;
  /// Not 0: the parent wants this process to end at once.
  const system::Word& end_word() const noexcept { return segment_->end; }
  /// Bytes of memory of its own above which the worker is to be replaced; 0: no limit.
  std::uint64_t recycle_above() const noexcept { return segment_->recycle_above.load(std::memory_order_relaxed); }
  /// It is to be replaced once what it has begun is done: it is above that limit, or a task has closed its control
  /// socket.
  void announce_unfit() noexcept;
  /// Wakes the parent's watchdog, whatever it waits for. Async-signal-safe.
  void ring_watchdog() noexcept;

  /// Waits for the next task and starts it; null when the parent asked to stop and nothing is left to do.
  /// Throws yoke::Error if the segment was overwritten.
  const TaskSlot* next();
  std::uint64_t position() const noexcept { return position_; }
  bool waited() const noexcept { return waited_; }  // the last next() did not find a task at once
  bool slept() const noexcept { return slept_; }  // and slept
  /// Takes in what the parent has sent, and lets go what it takes back. Between two tasks.
  void read_news();
  /// Of the task that next() returned. Throws yoke::Error, std::system_error.
  std::span<const std::byte> arguments(const TaskSlot& slot);
  const void* resolve(wire::FunctionReference reference);
  // Of a chunk: what each item brought, so that this process's death costs the item that it runs.
  void begin_items(std::uint32_t value_size) noexcept;
  bool keep_item(std::span<const std::byte> value, std::span<const std::byte> error) noexcept;  // false: no room
  /// Where the next values of items may be kept directly; see Call::keep_value().
  Call::Keeping keeping() noexcept;
  /// Hands over the result of that task.
  void publish(ResultKind kind, PackBuffer& result, std::uint32_t elapsed_ns);

 private:
  struct KeptMemory {
    std::uint64_t number;
    system::Mapping mapping;
  };
  void check_lap(const TaskSlot& slot) const;
  void wait();
  bool read_control();
  void read_until(std::uint16_t told);
  void take_memory();
  void take_shared();
  void wait_for_collection() const;
  std::size_t arena_room_for(std::size_t length);
  void wait_for_descriptor_room(std::size_t count);
  void hand_over(ControlKind kind, int descriptor, std::span<const std::byte> body = {});
  void share(std::span<const detail::HeldMemory> held);
  struct Placement {
    Place place;
    std::uint64_t where;
  };
  Placement place_result(ResultSlot& slot, PackBuffer& result);

  system::UniqueFd socket_;
  system::Mapping mapping_;
  Segment* segment_;
  std::uint64_t position_ = 0;  // of the task that runs, or of the next
  bool running_ = false;
  bool waited_ = false;
  bool slept_ = true;
  bool tasks_come_soon_ = false;  // the last one came while it spun, or just after
  ArenaRing arena_;
  Sleeper tasks_bell_;
  Ringer leader_bell_;
  Ringer watchdog_bell_;
  wire::FunctionResolver functions_;
  std::uint16_t told_ = 0;  // control messages that were read
  std::vector<KeptMemory> memory_;  // of arguments
  bool was_given_memory_ = false;  // which the parent may take back
  std::deque<std::uint64_t> handed_over_;  // positions of descriptors that went with results not yet collected
  std::uint32_t shared_ = 0;  // pieces of shared memory sent for the result of the task that runs
  std::unique_ptr<ControlMessage> message_;
  ChunkProgress::Step kept_{};  // of the chunk that runs
};

}  // namespace yoke::channel
