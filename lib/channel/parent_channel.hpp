// ParentChannel: the parent's end of what lies between it and one worker.
//
// Owns the segment and the control socket; keeps, in its own memory, which task is at which position, so that nothing
// the worker writes can mislead it about another task. Everything read from the segment is copied first and checked
// then. One thread at a time (the pool's lock), but for peek().
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/channel/arena_ring.hpp"
#include "lib/channel/control_socket.hpp"
#include "lib/channel/doorbell.hpp"
#include "lib/channel/given_memory.hpp"
#include "lib/channel/layout.hpp"
#include "lib/system/frames.hpp"
#include "lib/system/memfd.hpp"
#include "lib/system/modules.hpp"
#include "lib/wire/chunk.hpp"
#include "lib/wire/function_table.hpp"
#include "yoke/pool.hpp"

namespace yoke::channel {

/// What the black box and the status line of a dead worker say, copied and checked.
struct LastWords {
  std::optional<int> signal;  // that its crash handler recorded
  std::optional<std::uint64_t> fault_address;
  int code = 0;
  bool stack_overflow = false;
  std::uint64_t peak_memory = 0;  // 0: not told
  std::vector<system::Frame> frames;
  std::string reason;
  Phase phase = Phase::idle;
};

class ParentChannel {
 public:
  /// Throws std::system_error when there is no memory or no descriptor left.
  ParentChannel(int rank, int depth, const system::ModuleIdentity& program);

  // What the worker is started with.
  int segment_fd() const noexcept { return segment_fd_.get(); }
  int worker_socket() const noexcept { return worker_socket_.get(); }
  /// Once the worker has them: another worker could open the segment by this process's descriptor.
  void close_worker_ends() noexcept {
    segment_fd_.reset();
    worker_socket_.reset();
  }

  // Tasks.
  enum class Push {
    done,
    full,      // there is room again when the worker has done some of what it has
    lack,      // of what the system gives: it may be there later
    outdated,  // it cannot have this task, but a new worker could: another version of its module is open in it,
    // or the program has closed the pool's descriptors behind its back
    broken  // the worker does not take control messages
  };
  /// Gives the worker a task; `references` are of its trampoline and its target. The task's pool_word is not touched.
  Push push(Task& task, wire::FunctionReference function, wire::FunctionReference target, std::uint8_t flags,
            std::uint32_t first_item = 0);
  /// Tells the worker of the module of a reference that is in the arguments of the next task; false if it takes no
  /// control message.
  bool introduce(wire::FunctionReference reference);
  /// Wakes the worker if it sleeps; true if it did. After one or several pushes.
  bool ring() noexcept;
  /// It sleeps, as it does where it has no task. Between ring() and the next push.
  bool worker_sleeps() const noexcept { return tasks_bell_.someone_sleeps(); }
  /// Takes back the task at `position` if it was not started. The caller knows that it is there.
  bool revoke(std::uint64_t position) noexcept;
  /// True if the worker has started the task at `position` and its result was not collected.
  bool started(std::uint64_t position) const noexcept;
  /// True if the worker had started it when it died. Once it is dead and what it published has been collected.
  bool lost(std::uint64_t position) const noexcept;
  /// True if the state of a task that the worker has is none that either side gives it: its memory was overwritten.
  bool damaged() const noexcept;
  TaskPtr task_at(std::uint64_t position) const noexcept { return tasks_[position % slot_count]; }
  std::uint64_t next_position() const noexcept { return head_; }
  std::uint64_t first_uncollected() const noexcept { return tail_; }
  std::size_t outstanding() const noexcept { return outstanding_; }  // given, neither collected nor revoked
  /// The first task given and not collected: the only one that can be running. Null if there is none.
  TaskPtr oldest() const noexcept;
  std::optional<std::uint64_t> oldest_position() const noexcept;

  // Results.
  struct Collected {
    std::uint64_t position = 0;
    TaskPtr task;
    Outcome outcome;
    std::uint32_t elapsed_ns = 0;
    bool part = false;  // a value of some items only
    std::string damage;  // not empty: what the worker published cannot be trusted; outcome is not set
    std::string lack;  // not empty: what this process lacks to take the result; outcome is not set
    std::uint64_t too_long = 0;  // its bytes, if it is longer than max_result; outcome is not set
  };
  bool peek() const noexcept;  // any thread: there may be something to collect
  /// The next result, in the order of the tasks; false if there is none.
  bool collect(Collected& result);

  Sleeper& leader_bell() noexcept { return leader_bell_; }
  /// For results from that position on; those below are found by looking.
  void arm_leader_bell(std::uint64_t from) noexcept {
    segment().leader_from.store(from, std::memory_order_relaxed);
    leader_bell_.arm();
  }
  Sleeper& watchdog_bell() noexcept { return watchdog_bell_; }
  const Word& life_word() const noexcept;

  /// True once the worker has told that its start is over, before it ran anything that could deny it. Looks by a system
  /// call until then.
  bool ready();

  // The worker's own account, for clues.
  bool says_ready() const noexcept { return segment().status.ready.load(std::memory_order_acquire) != 0; }
  bool crashed() const noexcept { return segment().black_box.fatal.load(std::memory_order_acquire) != 0; }
  /// When it began the task at `position`; empty if it does not tell. Never negative.
  std::optional<std::int64_t> started_ns(std::uint64_t position) const noexcept;
  std::int64_t heartbeat_ns() const noexcept;  // never negative
  Phase phase() const noexcept;
  LastWords last_words() const;
  /// What it has of the chunk at `position`, checked against the segment's bounds only; a view of the segment. Items
  /// alone may be asked for while it runs.
  wire::ChunkPart chunk_progress(std::uint64_t position) const noexcept;

  /// Found above the limit of set_recycle_limit between two tasks.
  bool too_large() const noexcept { return segment().status.too_large.load(std::memory_order_acquire) != 0; }

  /// Takes in what the worker has sent ahead of its results. False if it is what no result can ask for.
  bool take_in_messages();
  /// Before the worker starts. 0: no limit.
  void set_max_result(std::uint64_t bytes) noexcept { segment().bootstrap.max_result = max_result_ = bytes; }

  /// There is, or will be with time, memory to take back from the worker.
  bool needs_trim() const noexcept { return given_.needs_trim(); }
  /// Takes back what no task has used for `age`.
  void trim(std::chrono::steady_clock::duration age) noexcept;
  void ask_to_stop() noexcept;
  /// Its lifeline ends the process as soon as it is woken: the way where signals may not be sent.
  void ask_to_end() noexcept { segment().end.store(1, std::memory_order_release); }
  void set_rank(int rank) noexcept { segment().bootstrap.rank.store(rank, std::memory_order_release); }
  void set_recycle_limit(std::uint64_t bytes) noexcept {
    segment().recycle_above.store(bytes, std::memory_order_relaxed);
  }
  void set_spin(std::uint32_t looks) noexcept { segment().spin.store(looks, std::memory_order_relaxed); }

 private:
  using ControlPair = std::pair<system::UniqueFd, system::UniqueFd>;
  ParentChannel(int rank, int depth, const system::ModuleIdentity& program, ControlPair ends);
  Segment& segment() const noexcept { return *reinterpret_cast<Segment*>(mapping_.data()); }
  Push place_arguments(TaskSlot& slot, const Bytes& arguments);
  Push give_memory(const Bytes& arguments, bool is_long, std::uint64_t& where);
  void look_for_missed_memory() noexcept;
  bool knows(std::uint32_t module) const { return module < introduced_.size() && introduced_[module]; }
  bool needs_socket(wire::FunctionReference function, wire::FunctionReference target, const Bytes& arguments) const;
  bool is_outdated(wire::FunctionReference function, wire::FunctionReference target) const;
  Push send_failure() const noexcept;
  struct Received {
    ControlKind kind;
    std::uint64_t position;
    std::uint64_t at;  // of shared memory: where in the result its place is
    system::UniqueFd descriptor;  // empty: lost, for want of descriptors
  };
  std::string fetch(const ResultSlot& slot, Collected& into);
  std::string fetch_content(std::uint64_t length, std::uint64_t where, Place place, system::UniqueFd memory,
                            Bytes& into);
  Receipt read_message();
  Received receive(ControlKind kind, std::uint64_t position);
  void adopt_shared(std::vector<Received> came, Bytes& result);
  void know_shared(const std::shared_ptr<SharedMemory>& memory);
  void skip_revoked() noexcept;

  system::UniqueFd segment_fd_;
  system::Mapping mapping_;
  system::UniqueFd worker_socket_;
  ControlSender socket_;
  GivenMemory given_{socket_};
  std::vector<TaskPtr> tasks_;  // by position, null once collected or revoked
  bool ready_ = false;
  std::uint64_t head_ = 0;  // next position to fill
  std::uint64_t tail_ = 0;  // first position not collected nor passed over
  std::size_t outstanding_ = 0;
  ArenaRing arena_;
  Ringer tasks_bell_;
  Sleeper leader_bell_;
  Sleeper watchdog_bell_;
  std::vector<bool> introduced_;  // modules told to the worker
  std::uint32_t memory_missed_ = 0;  // the worker's word as last seen
  std::deque<Received> received_;  // with results not yet collected
  // Given to the worker, or by it, at any time: what it may send back. By inode.
  std::unordered_map<std::uint64_t, std::weak_ptr<SharedMemory>> known_shared_;
  std::size_t prunes_known_at_ = 64;
  std::uint64_t max_result_ = 0;
};

}  // namespace yoke::channel
