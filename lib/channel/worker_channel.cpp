#include "lib/channel/worker_channel.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "lib/channel/slot.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/fork_guard.hpp"
#include "lib/system/pause.hpp"
#include "lib/system/prefetch.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/wire/chunk.hpp"
#include "lib/wire/shared_memory.hpp"
#include "yoke/error.hpp"

namespace yoke::channel {
namespace {

/// Memory that is kept for the next use.
constexpr std::chrono::seconds keep_memory_for{1};

constexpr std::chrono::microseconds soon{300};  // about as long as longest_spin takes, which the processor decides

constexpr std::chrono::seconds patience_with_lack{20};  // of what other processes of the same user have taken for now
constexpr std::chrono::milliseconds try_again{1};

constexpr std::uint64_t burst = 8;  // results that nobody has asked for
constexpr std::uint32_t pauses_in_a_burst = 32;

}  // namespace

WorkerChannel::WorkerChannel(system::UniqueFd segment, system::UniqueFd socket)
    : socket_(std::move(socket)),
      mapping_(segment.get(), sizeof(Segment), system::Access::read_write),
      segment_(reinterpret_cast<Segment*>(mapping_.data())),
      arena_(arena_size, arena_alignment),
      tasks_bell_(segment_->tasks_armed, segment_->tasks_rung),
      leader_bell_(segment_->leader_armed, segment_->leader_rung),
      watchdog_bell_(segment_->watchdog_armed, segment_->watchdog_rung),
      message_(std::make_unique<ControlMessage>()) {}

void WorkerChannel::announce_ready() {
  if (!send_control(socket_.get(), ControlKind::ready, 0, {}))
    throw std::system_error(errno, std::system_category(), "telling the parent that the worker is ready");
  segment_->status.ready.store(1, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ring_watchdog();
}

void WorkerChannel::announce_unfit() noexcept {
  segment_->status.too_large.store(1, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ring_watchdog();
}

void WorkerChannel::ring_watchdog() noexcept { watchdog_bell_.ring_if_armed(); }

const TaskSlot* WorkerChannel::next() {
  waited_ = !running_;  // the first task waited for the start-up
  if (running_) ++position_;
  slept_ = !running_;
  running_ = false;
  for (;;) {
    TaskSlot& slot = segment_->tasks[position_ % slot_count];
    switch (next_step(slot.state.load(std::memory_order_acquire), position_)) {
      case NextStep::pass:
        check_lap(slot);
        ++position_;
        continue;
      case NextStep::start:
        YOKE_FAULT_POINT(before_claim);
        if (!try_start(slot.state, position_)) continue;
        system::prefetch_to_write(&segment_->tasks[(position_ + lines_ahead) % slot_count]);
        system::prefetch_to_write(&segment_->results[(position_ + lines_ahead) % slot_count]);
        YOKE_FAULT_POINT(after_claim);
        running_ = true;
        return &slot;
      case NextStep::wait: break;
    }
    if (segment_->stop.load(std::memory_order_acquire) != 0) {
      // asked to stop after its last task was given: one more look decides
      YOKE_FAULT_POINT(stop_seen);
      if (next_step(slot.state.load(std::memory_order_acquire), position_) == NextStep::wait) return nullptr;
      continue;
    }
    waited_ = true;
    wait();
  }
}

/// Only positions of its own are ever written to a slot: passing over anything else, the worker would never find a
/// task.
void WorkerChannel::check_lap(const TaskSlot& slot) const {
  if (position_of(slot.state.load(std::memory_order_relaxed)) % slot_count != position_ % slot_count)
    throw Error("the memory that the worker shares with its parent was overwritten");
}

/// Spins for as long as the parent thinks that it pays, then sleeps.
void WorkerChannel::wait() {
  const TaskSlot& slot = segment_->tasks[position_ % slot_count];
  const auto nothing_to_do = [&] {
    return next_step(slot.state.load(std::memory_order_acquire), position_) == NextStep::wait &&
           segment_->stop.load(std::memory_order_acquire) == 0;
  };
  // While nobody asks for the results, tasks come in a burst: looking at each slot as it is written would take its
  // cache line from the writer, task by task.
  const std::uint64_t uncollected = position_ - segment_->collected.load(std::memory_order_relaxed);
  const std::uint32_t pauses = uncollected >= burst ? pauses_in_a_burst : 1;
  std::uint32_t looks = segment_->spin.load(std::memory_order_relaxed);
  if (looks == long_spin) looks = tasks_come_soon_ ? longest_spin : short_spin;
  while (looks != 0) {
    if (!nothing_to_do()) return;
    for (std::uint32_t n = std::min(looks, pauses); n != 0; --n, --looks) system::pause();
  }
  segment_->status.phase.store(static_cast<std::uint8_t>(Phase::idle), std::memory_order_relaxed);
  slept_ = true;
  const auto asleep_at = Clock::now();
  tasks_bell_.arm();
  YOKE_FAULT_POINT(bell_armed);
  while (nothing_to_do() && !tasks_bell_.rung()) {
    if (was_given_memory_) read_news();  // what comes later rings
    if (!system::warm_memory::any()) {
      tasks_bell_.sleep({});
      continue;
    }
    const auto give_back_at = Clock::now() + keep_memory_for;
    tasks_bell_.sleep(give_back_at);
    if (Clock::now() >= give_back_at) system::warm_memory::trim(keep_memory_for);
  }
  tasks_come_soon_ = Clock::now() - asleep_at < soon;
}

/// Takes in the next control message; false if there is none.
bool WorkerChannel::read_control() {
  const Receipt receipt = receive_control(socket_.get(), *message_);
  if (receipt != Receipt::message && receipt != Receipt::without_descriptor) return false;
  ++told_;
  const ControlHead& head = message_->head;
  switch (head.kind) {
    case ControlKind::module:
      functions_.add_module(static_cast<std::uint32_t>(head.number), std::span(message_->body, message_->body_length));
      break;
    case ControlKind::memory: take_memory(); break;
    case ControlKind::shared: take_shared(); break;
    case ControlKind::drop_memory:
      std::erase_if(memory_, [&](const KeptMemory& memory) { return memory.number == head.number; });
      break;
    case ControlKind::drop_shared: SharedMemory::drop(head.number); break;
    case ControlKind::ready: break;  // is the worker's own
  }
  return true;
}

void WorkerChannel::read_news() {
  while (read_control()) {
  }
}

/// Without a descriptor the memory's task will say that it is not there; the parent sends it anew for the next.
void WorkerChannel::take_memory() {
  was_given_memory_ = true;
  const system::UniqueFd descriptor = std::move(message_->descriptor);  // which would keep the memory
  struct stat status{};
  try {
    if (descriptor && ::fstat(descriptor.get(), &status) == 0) {
      memory_.push_back(
          {message_->head.number,
           system::Mapping(descriptor.get(), static_cast<std::size_t>(status.st_size), system::Access::read_only)});
      YOKE_FAULT_POINT(argument_memory_received);
      return;
    }
  } catch (const std::system_error&) {
    // no room to map it
  }
  segment_->memory_missed.fetch_add(1, std::memory_order_relaxed);
}

void WorkerChannel::take_shared() {
  was_given_memory_ = true;
  try {
    if (message_->descriptor) return SharedMemory::keep(std::move(message_->descriptor));
  } catch (const std::exception&) {
    // no room to map it
  }
  segment_->memory_missed.fetch_add(1, std::memory_order_relaxed);
}

/// All that the parent had sent when it made the task ready.
void WorkerChannel::read_until(std::uint16_t told) {
  while (static_cast<std::int16_t>(told - told_) > 0 && read_control()) {
  }
}

std::span<const std::byte> WorkerChannel::arguments(const TaskSlot& slot) {
  if (slot.told != told_) read_until(slot.told);
  if (slot.place == Place::slot) return {slot.content, slot.length};
  if (slot.place == Place::arena) return {segment_->task_arena + slot.where, slot.length};
  const auto found = std::ranges::find(memory_, slot.where, &KeptMemory::number);
  if (found == memory_.end() || found->mapping.size() < slot.length)
    throw Error(
        fmt::format("the memory of {} bytes of arguments did not reach the worker: has it descriptors and address "
                    "space left?",
                    slot.length));
  return {found->mapping.data(), slot.length};
}

const void* WorkerChannel::resolve(wire::FunctionReference reference) {
  return reference == 0 ? nullptr : functions_.resolve(reference);
}

/// Until the parent has copied more results: it was rung for them, and if it is dead the lifeline ends this process.
void WorkerChannel::wait_for_collection() const { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

void WorkerChannel::wait_until_collected() const {
  while (segment_->collected.load(std::memory_order_acquire) <= position_) wait_for_collection();
}

std::size_t WorkerChannel::arena_room_for(std::size_t length) {
  for (;; wait_for_collection()) {
    arena_.release_below(segment_->collected.load(std::memory_order_acquire));
    if (const auto offset = arena_.allocate(length, position_)) return *offset;
  }
}

/// The parent takes only so many descriptors that it has not asked for yet.
void WorkerChannel::wait_for_descriptor_room(std::size_t count) {
  for (;; wait_for_collection()) {
    const std::uint64_t collected = segment_->collected.load(std::memory_order_acquire);
    while (!handed_over_.empty() && handed_over_.front() < collected) handed_over_.pop_front();
    if (handed_over_.size() + count <= max_results_descriptors) return;
  }
}

/// Puts the bytes where they belong; the slot's fields are not yet written.
WorkerChannel::Placement WorkerChannel::place_result(ResultSlot& slot, PackBuffer& result) {
  const auto content = result.view();
  if (content.size() <= ResultSlot::inline_capacity) {
    if (!content.empty()) std::memcpy(slot.content, content.data(), content.size());
    return {Place::slot, 0};
  }
  if (content.size() <= longest_in_arena) {
    const std::size_t offset = arena_room_for(content.size());
    YOKE_FAULT_POINT(arena_taken);
    std::memcpy(segment_->result_arena + offset, content.data(), content.size());
    YOKE_FAULT_POINT(arena_written);
    return {Place::arena, offset};
  }
  const system::UniqueFd memory = result.large()->lend();
  YOKE_FAULT_POINT(memory_lent);
  hand_over(ControlKind::memory, memory.get());
  YOKE_FAULT_POINT(memory_sent);
  return {Place::memfd, 0};
}

void WorkerChannel::hand_over(ControlKind kind, int descriptor, std::span<const std::byte> body) {
  wait_for_descriptor_room(1);
  const auto give_up = std::chrono::steady_clock::now() + patience_with_lack;
  while (!send_control(socket_.get(), kind, position_, body, descriptor)) {
    const int error = errno;
    const bool passing = error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS;
    if (passing && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(try_again);
      continue;
    }
    if (error == EBADF)
      announce_unfit();  // a task has closed the socket: this one fails, and others go to another worker
    throw std::system_error(error, std::system_category(), "handing over the memory of a result");
  }
  handed_over_.push_back(position_);
}

/// The shared memory that a result speaks of, which its receiver shall have whatever becomes of this process.
void WorkerChannel::share(std::span<const detail::HeldMemory> held) {
  constexpr std::size_t most = max_results_descriptors - 1;  // one more may be that of the result itself
  std::vector<const detail::HeldMemory*> memory;
  for (const auto& each : held) {
    if (std::ranges::any_of(memory, [&](const auto* known) { return known->memory == each.memory; })) continue;
    memory.push_back(&each);
    if (memory.size() > most)
      throw SerializationError(
          fmt::format("a result speaks of more than {} shared arrays, which cannot be returned at once", most));
  }
  for (const auto* each : memory) {
    const std::uint64_t at = each->at;
    hand_over(ControlKind::shared, each->memory->descriptor(), std::as_bytes(std::span(&at, 1)));
    ++shared_;
    YOKE_FAULT_POINT(shared_memory_sent);
  }
}

void WorkerChannel::begin_items(std::uint32_t value_size) noexcept {
  ChunkProgress& progress = segment_->chunk;
  progress.position.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  kept_ = {};
  progress.value_size = value_size;
  progress.steps[0] = kept_;
  progress.more_values.store(0, std::memory_order_relaxed);
  progress.current.store(0, std::memory_order_relaxed);
  progress.position.store(position_ + 1, std::memory_order_release);
}

bool WorkerChannel::keep_item(std::span<const std::byte> value, std::span<const std::byte> error) noexcept {
  ChunkProgress& progress = segment_->chunk;
  const std::uint64_t now = progress.more_values.load(std::memory_order_relaxed);
  const std::uint64_t more = now - std::exchange(kept_.values_before, now);
  kept_.items += more;
  kept_.values += more * progress.value_size;
  const std::size_t room = ChunkProgress::capacity - kept_.values - kept_.errors;
  if (value.size() > room || error.size() > room - value.size()) return false;
  if (!value.empty()) std::memcpy(progress.content + kept_.values, value.data(), value.size());
  kept_.values += value.size();
  if (!error.empty()) {
    kept_.errors += error.size();
    ++kept_.error_count;
    std::memcpy(progress.content + ChunkProgress::capacity - kept_.errors, error.data(), error.size());
  }
  ++kept_.items;
  const std::uint32_t next = progress.current.load(std::memory_order_relaxed) + 1;
  progress.steps[next % 2] = kept_;
  progress.current.store(next, std::memory_order_release);
  return true;
}

Call::Keeping WorkerChannel::keeping() noexcept {
  ChunkProgress& progress = segment_->chunk;
  if (progress.value_size == wire::packed_values) return {};
  return {.next = progress.content + kept_.values,
          .end = progress.content + ChunkProgress::capacity - kept_.errors,
          .items = &progress.more_values,
          .process = &system::fork_generation_word(),
          .generation = system::fork_generation()};
}

void WorkerChannel::publish(ResultKind kind, PackBuffer& result, std::uint32_t elapsed_ns) {
  ResultSlot& slot = segment_->results[position_ % slot_count];
  const std::uint64_t most = segment_->bootstrap.max_result;
  const bool too_long = most != 0 && result.size() > most;
  const auto content = too_long ? std::span<const std::byte>() : result.view();
  if (kind != ResultKind::exception && !too_long) share(result.held());
  const auto [place, where] = too_long ? Placement{Place::slot, result.size()} : place_result(slot, result);
  if (too_long) kind = ResultKind::too_long;
  YOKE_FAULT_POINT(result_placed);
  slot.length = content.size();
  slot.where = where;
  slot.place = place;
  slot.kind = kind;
  slot.shared = shared_;
  slot.elapsed_ns = elapsed_ns;
  slot.seal = result_seal(position_, content.size(), where, place, kind, shared_,
                          place == Place::slot ? content : std::span<const std::byte>());
  YOKE_FAULT_POINT(result_written, &slot);
  slot.sequence.store(published(position_), std::memory_order_release);
  shared_ = 0;
  YOKE_FAULT_POINT(result_sequenced, &slot);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // A thread that waits for results itself goes first; the watchdog need not wake for it too.
  if (segment_->leader_armed.load(std::memory_order_acquire) == 0)
    watchdog_bell_.ring_if_armed();
  else if (position_ >= segment_->leader_from.load(std::memory_order_relaxed))
    leader_bell_.ring_if_armed();
  YOKE_FAULT_POINT(result_rung);
}

}  // namespace yoke::channel
