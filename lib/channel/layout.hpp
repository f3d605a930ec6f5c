// The segment: the memory that one parent and one worker share. A memfd, mapped by both, never by another worker.
//
// Every word has one writer, named beside it, but for a slot's state, which both change by compare-and-swap. No locks,
// no pointers. The parent trusts nothing that it reads here: see parent_channel.hpp.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lib/system/futex.hpp"

namespace yoke::channel {

using system::Word;

inline constexpr std::size_t slot_count = 512;                // a power of two
inline constexpr std::size_t lines_ahead = 4;                 // slots that are prefetched before their time
inline constexpr std::size_t arena_size = 256 * 1024;         // for messages too long for a slot, each way
inline constexpr std::size_t arena_alignment = 64;
inline constexpr std::size_t longest_in_arena = 64 * 1024;    // longer messages go as memfds of their own

inline constexpr std::size_t max_results_descriptors = 32;    // that a worker has sent and its parent not collected

/// Where a message lies.
enum class Place : std::uint8_t {
  slot,   // in the slot itself
  arena,  // in the segment's arena, at `where`
  memfd   // in a memfd known by the number `where`, sent over the control socket before; of a result, sent with it
};

struct alignas(64) TaskSlot {
  static constexpr std::size_t inline_capacity = 80;
  std::atomic<std::uint64_t> state;  // see slot.hpp; all below: parent, before it makes the slot ready
  std::uint64_t function;            // reference to the trampoline, see wire/function_table.hpp
  std::uint64_t target;              // reference to the function behind a function pointer, or 0
  std::uint64_t length;
  std::uint64_t where;
  Place place;
  std::uint8_t flags;
  std::uint16_t told;  // control messages that were sent before, modulo 2^16: the worker reads so many first
  std::uint32_t first_item;  // with which a chunk goes on; those before it are done
  alignas(16) std::byte content[inline_capacity];
};
static_assert(sizeof(TaskSlot) == 128);

/// TaskSlot::flags: the worker takes no further task if this one throws.
inline constexpr std::uint8_t flag_initializer = 1;
/// The worker is told of reducers before the task's own arguments, and there may be no function behind them.
inline constexpr std::uint8_t flag_reducers = 2;

enum class ResultKind : std::uint32_t {
  value,
  exception,
  part,  // a value of some items of a chunk; the worker leaves the others
  too_long  // than max_result allows: no content, its length is `where`
};

struct alignas(64) ResultSlot {
  static constexpr std::size_t inline_capacity = 80;
  std::atomic<std::uint64_t> sequence;  // see slot.hpp; stored once all below is written; all: worker
  std::uint64_t length;
  std::uint64_t where;
  Place place;
  ResultKind kind;
  std::uint32_t elapsed_ns;  // run time, saturated
  std::uint32_t seal;  // of the position and all of this but elapsed_ns: see slot.hpp
  std::uint32_t shared;  // pieces of shared memory that came with it over the control socket, if only to be closed
  alignas(16) std::byte content[inline_capacity];
};
static_assert(sizeof(ResultSlot) == 128);

/// What the worker says of itself. A clue for reports, timeouts and statistics, never for memory safety.
struct WorkerStatus {
  std::atomic<std::uint64_t> position;  // of the task that it runs or ran last, + 1; stored after started_ns
  std::atomic<std::int64_t> started_ns;  // of that task, CLOCK_MONOTONIC
  std::atomic<std::int64_t> heartbeat_ns;  // when its task last said that it is alive; 0: not yet
  std::atomic<std::uint64_t> tasks_done;
  std::atomic<std::int32_t> pid;
  std::atomic<std::uint32_t>
      too_large;  // 1 once it was found above recycle_above between two tasks, or has no control socket
  std::atomic<std::uint8_t> phase;  // yoke::Phase
  std::atomic<std::uint8_t> ready;  // 1 once start-up is over; the control socket says so too, for good
};

/// What a worker has of the chunk that it runs. Its parent reads it when the worker is dead.
struct ChunkProgress {
  static constexpr std::size_t capacity = 256 * 1024;  // bytes; without room for an item's the chunk ends in parts
  struct Step {
    std::uint64_t items;
    std::uint64_t values;  // bytes
    std::uint64_t errors;  // bytes
    std::uint32_t error_count;
    std::uint64_t values_before;  // of `more_values`, counted in this step
  };
  std::atomic<std::uint64_t> position;  // of the task, + 1; stored when all below is this task's
  std::atomic<std::uint32_t> current;  // the step that holds, modulo 2; stored when it is written
  std::uint32_t value_size;
  Step steps[2];
  std::atomic<std::uint64_t>
      more_values;  // items without an error whose value of value_size bytes was kept after the step
  std::byte content[capacity];  // values from the front, errors from the back
};

/// What a dying worker leaves: written by its crash handler, so with async-signal-safe code only.
struct BlackBox {
  static constexpr std::size_t max_frames = 48;
  static constexpr std::size_t max_modules = 8;
  struct Frame {
    std::uint64_t offset;  // from the module's base; the address itself if the module is unknown
    std::uint32_t module;  // index into modules, or max_modules
  };
  std::atomic<std::uint32_t> signal;  // 0: none recorded
  std::atomic<std::uint32_t> fatal;  // 1: all below is written, and the signal will end the process
  std::int32_t code;  // si_code
  std::uint64_t address;  // si_addr
  std::uint64_t peak_memory;  // bytes resident at most
  std::uint32_t has_address;
  std::uint32_t stack_overflow;  // 1: it was one
  std::uint32_t frame_count;
  Frame frames[max_frames];
  char modules[max_modules][256];  // path of each module, NUL-terminated
  std::atomic<std::uint32_t> reason_length;
  char reason[1024];  // start-up failure, or what std::terminate was called for
};

/// What the parent tells the worker before it starts.
struct Bootstrap {
  std::uint32_t version;
  std::atomic<std::int32_t> rank;  // changes once, when a spare worker takes a place
  std::int32_t depth;
  std::uint64_t max_result;  // bytes; 0: any
  std::uint32_t identity_length;
  std::uint8_t identity[32];  // of the program, see system/modules.hpp
  std::uint64_t tree;  // see wire/shared_memory.hpp
};

/// Changes with every change of this file.
inline constexpr std::uint32_t layout_version = 10;

// Looks before sleeping: where cores are scarce, and where one is free for each that spins. There, a worker whose tasks
// come at short intervals spins on until the next; one whose tasks are rare makes room soon for its caller, which may
// be waiting for its very core.
inline constexpr std::uint32_t short_spin = 50;
inline constexpr std::uint32_t long_spin = 2000;
inline constexpr std::uint32_t longest_spin = 20'000;

struct Segment {
  alignas(64) Bootstrap bootstrap;  // parent
  alignas(64) Word tasks_rung;  // parent: see doorbell.hpp
  std::atomic<std::uint32_t> stop;  // parent: leave when there is no task ready
  Word end;  // parent: end at once; for the lifeline, where signals may not be sent
  std::atomic<std::uint32_t> spin;  // parent: looks at the next slot before the worker sleeps
  std::atomic<std::uint64_t> recycle_above;  // parent: bytes of memory of the worker's own; 0: no limit
  alignas(64) Word tasks_armed;  // worker
  Word memory_missed;  // worker: how often memory that it was sent did not reach it
  alignas(64) Word leader_armed;  // parent
  Word watchdog_armed;  // parent
  std::atomic<std::uint64_t> leader_from;  // parent: results below this position need not ring the leader
  alignas(64) Word leader_rung;  // worker
  Word watchdog_rung;  // worker
  alignas(64) pthread_mutex_t life;  // worker, and the kernel at its death: see system/life_notice.hpp
  alignas(64) std::atomic<std::uint64_t> collected;  // parent: results below this position have been copied
  alignas(64) WorkerStatus status;  // worker
  alignas(64) TaskSlot tasks[slot_count];
  alignas(64) ResultSlot results[slot_count];
  alignas(64) std::byte task_arena[arena_size];  // parent
  alignas(64) std::byte result_arena[arena_size];  // worker
  alignas(64) BlackBox black_box;  // worker
  alignas(64) ChunkProgress chunk;  // worker
};

}  // namespace yoke::channel
