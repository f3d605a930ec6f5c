#include "lib/channel/parent_channel.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "lib/channel/received_buffer.hpp"
#include "lib/channel/slot.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/prefetch.hpp"
#include "lib/wire/holding_buffer.hpp"
#include "lib/wire/large_buffer.hpp"
#include "lib/wire/shared_memory.hpp"

namespace yoke::channel {
namespace {

/// What a worker sent, or did not, that no result can be.
struct Damage {
  std::string text;
};
/// What this process lacks: the worker is not to blame.
struct Lack {
  std::string text;
};

/// Only a memfd has seals: reading from anything else could block. Where nothing was written there is no memory, and
/// none of the parent's is spent on it.
bool holds(const system::UniqueFd& memory, std::uint64_t length) {
  constexpr std::uint64_t block = 512;
  struct stat status{};
  return ::fcntl(memory.get(), F_GET_SEALS) >= 0 && ::fstat(memory.get(), &status) == 0 &&
         static_cast<std::uint64_t>(status.st_size) >= length &&
         static_cast<std::uint64_t>(status.st_blocks) * block >= length;
}

/// A value of the segment, read once: the worker may change it between two looks.
template <class T>
T read_once(const T& shared) noexcept {
  return *const_cast<const volatile T*>(&shared);
}

}  // namespace

ParentChannel::ParentChannel(int rank, int depth, const system::ModuleIdentity& program)
    : ParentChannel(rank, depth, program, make_control_pair()) {}

ParentChannel::ParentChannel(int rank, int depth, const system::ModuleIdentity& program, ControlPair ends)
    : segment_fd_(system::create_memfd("yoke-segment", sizeof(Segment))),
      mapping_(segment_fd_.get(), sizeof(Segment), system::Access::read_write),
      worker_socket_(std::move(ends.second)),
      socket_(std::move(ends.first)),
      tasks_(slot_count),
      arena_(arena_size, arena_alignment),
      tasks_bell_(segment().tasks_armed, segment().tasks_rung),
      leader_bell_(segment().leader_armed, segment().leader_rung),
      watchdog_bell_(segment().watchdog_armed, segment().watchdog_rung) {
  system::seal_memfd(segment_fd_.get(), system::Seal::size);
  Bootstrap& bootstrap = segment().bootstrap;
  bootstrap.version = layout_version;
  bootstrap.rank.store(rank, std::memory_order_relaxed);
  bootstrap.depth = depth;
  bootstrap.identity_length = static_cast<std::uint32_t>(std::min(program.size(), sizeof bootstrap.identity));
  std::copy_n(program.data(), bootstrap.identity_length, bootstrap.identity);
  bootstrap.tree = SharedMemory::tree();
  introduced_ = {true, true};  // no module, and the program itself
}

bool ParentChannel::introduce(wire::FunctionReference reference) {
  const std::uint32_t number = wire::module_number(reference);
  if (knows(number)) return true;
  const auto description = wire::describe_module(number);
  if (description.size() > max_control_body) return false;
  if (!socket_.send(ControlKind::module, number, description)) return false;
  if (number >= introduced_.size()) introduced_.resize(number + 1);
  introduced_[number] = true;
  return true;
}

/// Why a control message was not taken: a socket that is full has room again once the worker has read it.
ParentChannel::Push ParentChannel::send_failure() const noexcept {
  if (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS) return Push::lack;
  const bool full = errno == EAGAIN;
  return full && outstanding_ != 0 ? Push::full : Push::broken;
}

void ParentChannel::look_for_missed_memory() noexcept {
  const std::uint32_t now = segment().memory_missed.load(std::memory_order_relaxed);
  if (now != memory_missed_) given_.doubt();
  memory_missed_ = now;
}

/// What does not fit the segment, and what the arguments speak of.
ParentChannel::Push ParentChannel::give_memory(const Bytes& arguments, bool is_long, std::uint64_t& where) {
  using Gave = GivenMemory::Gave;
  look_for_missed_memory();
  Gave gave = given_.share(memory_of(arguments), head_, tail_);
  if (gave == Gave::yes)
    for (const auto& held : memory_of(arguments)) know_shared(held.memory);
  if (gave == Gave::yes && is_long) gave = given_.put(arguments.view(), head_, tail_, where);
  if (gave == Gave::not_taken) return send_failure();
  if (gave == Gave::all_in_use) return Push::full;
  YOKE_FAULT_POINT(argument_memory_sent, segment().status.pid.load(std::memory_order_relaxed));
  return Push::done;
}

/// The slot is only written to: the worker may change what it says at any time.
ParentChannel::Push ParentChannel::place_arguments(TaskSlot& slot, const Bytes& arguments) {
  const std::size_t length = arguments.size();
  const bool is_long = length > longest_in_arena;
  std::uint64_t where = 0;
  if (is_long || (arguments.buffer() && arguments.buffer()->speaks_of_shared_memory()))
    if (const Push given = give_memory(arguments, is_long, where); given != Push::done) return given;
  slot.place = Place::memfd;
  if (length <= TaskSlot::inline_capacity) {
    slot.place = Place::slot;
    const auto content = arguments.view();
    if (!content.empty()) std::memcpy(slot.content, content.data(), content.size());
  } else if (!is_long) {
    const auto offset = arena_.allocate(length, head_);
    if (!offset) return Push::full;
    slot.place = Place::arena;
    where = *offset;
    std::memcpy(segment().task_arena + where, arguments.view().data(), length);
  }
  slot.length = length;
  slot.where = where;
  return Push::done;
}

/// A version of one of these modules is open in the worker already, whose file the new one has replaced.
bool ParentChannel::is_outdated(wire::FunctionReference function, wire::FunctionReference target) const {
  for (const auto reference : {function, target}) {
    const std::uint32_t number = wire::module_number(reference);
    if (knows(number)) continue;
    const auto others = wire::other_versions(number);
    if (std::ranges::any_of(others, [this](std::uint32_t other) { return knows(other); })) return true;
  }
  return false;
}

bool ParentChannel::needs_socket(wire::FunctionReference function, wire::FunctionReference target,
                                 const Bytes& arguments) const {
  return arguments.size() > longest_in_arena || !knows(wire::module_number(function)) ||
         !knows(wire::module_number(target));
}

ParentChannel::Push ParentChannel::push(Task& task, wire::FunctionReference function, wire::FunctionReference target,
                                        std::uint8_t flags, std::uint32_t first_item) {
  if (head_ - tail_ >= slot_count) return Push::full;
  if (is_outdated(function, target) || (needs_socket(function, target, task.arguments()) && !socket_.is_own()))
    return Push::outdated;
  if (!introduce(function) || !introduce(target)) return send_failure();
  TaskSlot& slot = segment().tasks[head_ % slot_count];
  if (const Push placed = place_arguments(slot, task.arguments()); placed != Push::done) return placed;
  slot.function = function;
  slot.target = target;
  slot.flags = flags;
  slot.first_item = first_item;
  slot.told = socket_.count();
  tasks_[head_ % slot_count] = TaskPtr(&task);
  YOKE_FAULT_POINT(before_make_ready, segment().status.pid.load(std::memory_order_relaxed));
  make_ready(slot.state, head_);
  YOKE_FAULT_POINT(after_make_ready, segment().status.pid.load(std::memory_order_relaxed));
  ++head_;
  ++outstanding_;
  system::prefetch_to_write(&segment().tasks[(head_ + lines_ahead) % slot_count]);
  return Push::done;
}

void ParentChannel::trim(std::chrono::steady_clock::duration age) noexcept {
  if (given_.trim(age, tail_)) ring();
}

bool ParentChannel::ring() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return tasks_bell_.ring_if_armed();
}

bool ParentChannel::revoke(std::uint64_t position) noexcept {
  YOKE_FAULT_POINT(before_revoke, segment().status.pid.load(std::memory_order_relaxed));
  if (!try_revoke(segment().tasks[position % slot_count].state, position)) return false;
  YOKE_FAULT_POINT(after_revoke, segment().status.pid.load(std::memory_order_relaxed));
  tasks_[position % slot_count].reset();
  --outstanding_;
  skip_revoked();
  return true;
}

/// Positions taken back are passed over without a result.
void ParentChannel::skip_revoked() noexcept {
  const std::uint64_t before = tail_;
  while (tail_ != head_ && !tasks_[tail_ % slot_count]) ++tail_;
  if (tail_ == before) return;
  arena_.release_below(tail_);
  segment().collected.store(tail_, std::memory_order_release);
}

bool ParentChannel::started(std::uint64_t position) const noexcept {
  return has_started(segment().tasks[position % slot_count].state.load(std::memory_order_acquire), position);
}

bool ParentChannel::lost(std::uint64_t position) const noexcept {
  return lost_with_worker(segment().tasks[position % slot_count].state.load(std::memory_order_acquire), position,
                          tail_);
}

bool ParentChannel::damaged() const noexcept {
  for (std::uint64_t position = tail_; position != head_; ++position)
    if (tasks_[position % slot_count] &&
        is_damaged(segment().tasks[position % slot_count].state.load(std::memory_order_relaxed), position))
      return true;
  return false;
}

TaskPtr ParentChannel::oldest() const noexcept { return tail_ == head_ ? TaskPtr() : tasks_[tail_ % slot_count]; }

std::optional<std::uint64_t> ParentChannel::oldest_position() const noexcept {
  if (tail_ == head_) return std::nullopt;
  return tail_;
}

bool ParentChannel::peek() const noexcept {
  return tail_ != head_ &&
         segment().results[tail_ % slot_count].sequence.load(std::memory_order_acquire) == published(tail_);
}

bool ParentChannel::collect(Collected& result) {
  if (!peek()) return false;
  const std::uint64_t position = tail_;
  const ResultSlot& shared = segment().results[position % slot_count];
  system::prefetch_to_read(&segment().results[(position + lines_ahead) % slot_count]);
  result.position = position;
  result.task = std::move(tasks_[position % slot_count]);
  result.elapsed_ns = read_once(shared.elapsed_ns);
  YOKE_FAULT_POINT(before_fetch, segment().status.pid.load(std::memory_order_relaxed));
  result.damage.clear();
  result.lack.clear();
  result.too_long = 0;
  try {
    result.damage = fetch(shared, result);
  } catch (Damage& damage) {
    result.damage = std::move(damage.text);
  } catch (Lack& lack) {
    result.lack = std::move(lack.text);
  } catch (const SerializationError& error) {
    result.damage = fmt::format("a result that cannot be ({})", error.what());
  } catch (const std::exception& error) {  // no memory or no descriptor left for a copy
    result.lack = error.what();
  }
  if (!result.damage.empty() || !result.lack.empty()) result.outcome.bytes.clear();
  if (!result.damage.empty()) {  // what came with it would be damage to the next
    take_in_messages();
    std::erase_if(received_, [&](const Received& each) { return each.position <= position; });
  }
  YOKE_FAULT_POINT(after_fetch, segment().status.pid.load(std::memory_order_relaxed));
  --outstanding_;
  skip_revoked();
  return true;
}

/// Copies a result; returns what is wrong with it. Throws Damage and Lack.
std::string ParentChannel::fetch(const ResultSlot& shared, Collected& collected) {
  const std::uint64_t position = collected.position;
  Outcome& into = collected.outcome;
  const std::uint64_t length = read_once(shared.length);
  const std::uint64_t where = read_once(shared.where);
  const Place place = read_once(shared.place);
  const ResultKind kind = read_once(shared.kind);
  const std::uint32_t held = read_once(shared.shared);
  if (place == Place::slot) {
    if (length > ResultSlot::inline_capacity) return fmt::format("a result of {} bytes in a slot", length);
    into.bytes = Bytes(std::span(shared.content, length));  // copied first: what was sealed is what is given on
  }
  if (read_once(shared.seal) != result_seal(position, length, where, place, kind, held,
                                            place == Place::slot ? into.bytes.view() : std::span<const std::byte>()))
    return fmt::format("a result that was overwritten ({} bytes at {})", length, where);
  const Callable& callable = collected.task->callable();
  if (held > max_results_descriptors) return fmt::format("a result with {} shared arrays", held);
  std::vector<Received> came;
  for (std::uint32_t i = 0; i < held; ++i) came.push_back(receive(ControlKind::shared, position));
  Received memory{};  // of no kind: none
  if (place == Place::memfd && length > longest_in_arena) memory = receive(ControlKind::memory, position);
  collected.part = kind == ResultKind::part;
  switch (kind) {
    case ResultKind::value:
    case ResultKind::part:
      into.kind = Outcome::Kind::value;
      if (callable.result_bytes && !callable.chunk && length != *callable.result_bytes)
        return fmt::format("a result of {} bytes where its type has {}", length, *callable.result_bytes);
      if (held != 0 && !callable.result_may_share)
        return fmt::format("{} shared arrays with a result that has none", held);
      break;
    case ResultKind::exception:
      into.kind = Outcome::Kind::exception;
      came.clear();  // of the result that it could not publish
      break;
    case ResultKind::too_long:
      if (max_result_ == 0 || where <= max_result_) return fmt::format("a result of {} bytes as too long", where);
      collected.too_long = where;
      return {};
    default: return "a result of no known kind";
  }
  if (max_result_ != 0 && length > max_result_)
    return fmt::format("a result of {} bytes where max_result allows {}", length, max_result_);
  // Once all that belongs to this result has been taken from the socket.
  if ((memory.kind == ControlKind::memory && !memory.descriptor) ||
      std::ranges::any_of(came, [](const Received& each) { return !each.descriptor; }))
    throw Lack{"there was no descriptor left for its memory (Too many open files)"};
  if (std::string trouble = fetch_content(length, where, place, std::move(memory.descriptor), into.bytes);
      !trouble.empty())
    return trouble;
  if (!came.empty()) adopt_shared(std::move(came), into.bytes);
  return {};
}

std::string ParentChannel::fetch_content(std::uint64_t length, std::uint64_t where, Place place,
                                         system::UniqueFd memory, Bytes& into) {
  switch (place) {
    case Place::slot: return {};  // read before its seal was checked
    case Place::arena: {
      if (length > arena_size || where > arena_size - length)
        return fmt::format("a result of {} bytes at {} of its arena", length, where);
      into = Bytes(std::span(segment().result_arena + where, length));
      return {};
    }
    case Place::memfd:
      if (length <= longest_in_arena) return fmt::format("a result of {} bytes in memory of its own", length);
      if (!holds(memory, length)) return fmt::format("a result of {} bytes in memory that does not hold it", length);
      into = Bytes(std::make_shared<ReceivedBuffer>(std::move(memory), length));
      return {};
  }
  return "a result at no known place";
}

/// The next message from the socket to those received, or to ready_. One for another than the results that are to come,
/// or without a descriptor for them, is malformed, and so is a second that tells of readiness.
Receipt ParentChannel::read_message() {
  if (!socket_.is_own()) return Receipt::nothing;
  ControlMessage message;
  const Receipt receipt = receive_control(socket_.socket(), message);
  if (receipt == Receipt::nothing || receipt == Receipt::malformed) return receipt;
  const ControlKind kind = message.head.kind;
  if (kind == ControlKind::ready && receipt == Receipt::message && !message.descriptor)
    return std::exchange(ready_, true) ? Receipt::malformed : Receipt::message;
  const std::uint64_t position = message.head.number;
  std::uint64_t at = 0;
  const bool is_shared = kind == ControlKind::shared;
  if ((kind != ControlKind::memory && !is_shared) || position < tail_ || position >= head_ ||
      (receipt == Receipt::message && !message.descriptor) || message.body_length != (is_shared ? sizeof at : 0))
    return Receipt::malformed;
  if (is_shared) std::memcpy(&at, message.body, sizeof at);
  received_.push_back({kind, position, at, std::move(message.descriptor)});
  return receipt;
}

bool ParentChannel::take_in_messages() {
  for (;;) {
    const Receipt receipt = read_message();
    if (receipt == Receipt::nothing) return true;
    if (receipt == Receipt::malformed || received_.size() > max_results_descriptors) return false;
  }
}

/// The next message, which is to be of this kind and for the result at `position`. Throws Damage.
ParentChannel::Received ParentChannel::receive(ControlKind kind, std::uint64_t position) {
  if (received_.empty()) ready();  // which comes before all others
  if (received_.empty()) read_message();
  if (received_.empty() || received_.front().kind != kind || received_.front().position != position)
    throw Damage{kind == ControlKind::shared ? "a result whose shared array did not come with it"
                                             : "a result whose memory did not come with it"};
  Received received = std::move(received_.front());
  received_.pop_front();
  return received;
}

/// The shared memory that a result speaks of joins it. Throws SerializationError, std::system_error.
void ParentChannel::adopt_shared(std::vector<Received> came, Bytes& result) {
  HoldingBuffer::Held held;
  for (Received& each : came) {
    const detail::SharedPlace place = shared_place::read(result.view(), each.at);
    const auto was_given = [&](std::uint64_t inode) {
      const auto found = known_shared_.find(inode);
      return found != known_shared_.end() && !found->second.expired();
    };
    auto memory = SharedMemory::adopt(std::move(each.descriptor), place, was_given);
    know_shared(memory);
    held.emplace_back(place.inode, std::move(memory));
  }
  result = Bytes(std::make_shared<HoldingBuffer>(std::move(result), std::move(held)));
}

void ParentChannel::know_shared(const std::shared_ptr<SharedMemory>& memory) {
  if (known_shared_.size() >= prunes_known_at_) {
    std::erase_if(known_shared_, [](const auto& entry) { return entry.second.expired(); });
    prunes_known_at_ = std::max<std::size_t>(64, 2 * known_shared_.size());
  }
  known_shared_.insert_or_assign(memory->inode(), memory);
}

/// What the worker has sent it cannot take back: its word in the segment a task could overwrite before it is seen. That
/// word has to do where the program has closed the socket before what was sent had been read.
bool ParentChannel::ready() {
  if (!ready_ && received_.empty()) read_message();
  if (!ready_ && says_ready() && !socket_.is_own()) ready_ = true;
  return ready_;
}

const Word& ParentChannel::life_word() const noexcept { return system::life_word(segment().life); }

std::optional<std::int64_t> ParentChannel::started_ns(std::uint64_t position) const noexcept {
  const WorkerStatus& status = segment().status;
  if (status.position.load(std::memory_order_acquire) != position + 1) return std::nullopt;
  return std::max<std::int64_t>(0, status.started_ns.load(std::memory_order_relaxed));
}

std::int64_t ParentChannel::heartbeat_ns() const noexcept {
  return std::max<std::int64_t>(0, segment().status.heartbeat_ns.load(std::memory_order_relaxed));
}

Phase ParentChannel::phase() const noexcept {
  const std::uint8_t phase = segment().status.phase.load(std::memory_order_relaxed);
  return phase <= static_cast<std::uint8_t>(Phase::finish) ? static_cast<Phase>(phase) : Phase::idle;
}

LastWords ParentChannel::last_words() const {
  LastWords words;
  words.phase = phase();
  const BlackBox& box = segment().black_box;
  const std::uint32_t reason =
      std::min<std::uint32_t>(box.reason_length.load(std::memory_order_acquire), sizeof box.reason);
  words.reason.assign(box.reason, reason);
  const std::uint32_t signal = box.signal.load(std::memory_order_acquire);
  if (signal == 0 || signal > 64) return words;
  words.signal = static_cast<int>(signal);
  words.code = read_once(box.code);
  words.stack_overflow = read_once(box.stack_overflow) != 0;
  words.peak_memory = read_once(box.peak_memory);
  if (read_once(box.has_address) != 0) words.fault_address = read_once(box.address);
  const std::size_t count = std::min<std::size_t>(read_once(box.frame_count), BlackBox::max_frames);
  for (std::size_t i = 0; i < count; ++i) {
    system::Frame frame{read_once(box.frames[i].offset), {}};
    const std::uint32_t module = read_once(box.frames[i].module);
    if (module < BlackBox::max_modules) {
      char path[sizeof box.modules[0]];
      std::memcpy(path, box.modules[module], sizeof path);
      path[sizeof path - 1] = 0;
      frame.module = path;
    }
    words.frames.push_back(std::move(frame));
  }
  return words;
}

wire::ChunkPart ParentChannel::chunk_progress(std::uint64_t position) const noexcept {
  const ChunkProgress& progress = segment().chunk;
  if (progress.position.load(std::memory_order_acquire) != position + 1) return {};
  const ChunkProgress::Step& step = progress.steps[progress.current.load(std::memory_order_acquire) % 2];
  const std::uint64_t values = read_once(step.values);
  const std::uint64_t errors = read_once(step.errors);
  const std::uint32_t value_size = read_once(progress.value_size);
  if (values > ChunkProgress::capacity || errors > ChunkProgress::capacity - values) return {};
  const std::uint64_t more = progress.more_values.load(std::memory_order_acquire) - read_once(step.values_before);
  if (value_size != 0 && more > (ChunkProgress::capacity - errors - values) / value_size) return {};
  return {.items = read_once(step.items) + more,
          .value_size = value_size,
          .error_count = read_once(step.error_count),
          .values = {progress.content, values + more * value_size},
          .errors = {progress.content + ChunkProgress::capacity - errors, errors}};
}

void ParentChannel::ask_to_stop() noexcept {
  segment().stop.store(1, std::memory_order_release);
  ring();
}

}  // namespace yoke::channel
