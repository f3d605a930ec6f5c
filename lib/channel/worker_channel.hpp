// WorkerChannel: the worker's end of what lies between it and its parent.
//
// Used by the worker's main thread alone. The parent is trusted. Nothing here waits for the parent to answer: a worker
// sleeps only on its doorbell, and the lifeline thread ends it when the parent dies.
#pragma once

#include <memory>
#include <vector>

#include "lib/channel/arena_ring.hpp"
#include "lib/channel/control_socket.hpp"
#include "lib/channel/doorbell.hpp"
#include "lib/channel/layout.hpp"
#include "lib/system/memfd.hpp"
#include "lib/wire/function_table.hpp"
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
  /// Start-up is over.
  void announce_ready() noexcept;
  /// Wakes the parent's watchdog, whatever it waits for. Async-signal-safe.
  void ring_watchdog() noexcept;

  /// Waits for the next task and starts it; null when the parent asked to stop and nothing is left to do.
  const TaskSlot* next();
  std::uint64_t position() const noexcept { return position_; }
  bool waited() const noexcept { return waited_; }  // the last next() did not find a task at once
  /// Of the task that next() returned. Throws yoke::Error, std::system_error.
  std::span<const std::byte> arguments(const TaskSlot& slot);
  const void* resolve(wire::FunctionReference reference);
  /// Hands over the result of that task.
  void publish(ResultKind kind, PackBuffer& result, std::uint32_t elapsed_ns);

 private:
  struct KeptMemory {
    std::uint64_t number;
    system::Mapping mapping;
  };
  void wait();
  void read_control();
  void place_result(ResultSlot& slot, PackBuffer& result);

  system::UniqueFd socket_;
  system::Mapping mapping_;
  Segment* segment_;
  std::uint64_t position_ = 0;  // of the task that runs, or of the next
  bool running_ = false;
  bool waited_ = false;
  ArenaRing arena_;
  Sleeper tasks_bell_;
  Ringer leader_bell_;
  Ringer watchdog_bell_;
  wire::FunctionResolver functions_;
  std::vector<KeptMemory> memory_;  // oldest first
  std::unique_ptr<ControlMessage> message_;
};

}  // namespace yoke::channel
