#include "lib/wire/chunk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "lib/wire/message_walk.hpp"
#include "yoke/map.hpp"

namespace yoke {
namespace wire {
namespace {

constexpr std::uint8_t array_of_32_bits = 0xdd;
constexpr std::uint8_t map_of_32_bits = 0xdf;
constexpr std::size_t max_item_depth = detail::max_depth - 1;  // it lies in an array, or a map, of them

constexpr std::uint64_t most_lost_at_once = 65'536;

bool speaks_of_shared_memory(const Bytes& bytes) { return bytes.buffer() && bytes.buffer()->speaks_of_shared_memory(); }

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_head(std::vector<std::byte>& to, std::uint8_t type, std::uint64_t count) {
  to.resize(to.size() + container_head);
  write_container_head(to.data() + to.size() - container_head, type, static_cast<std::uint32_t>(count));
}

Bytes in_buffer(std::vector<std::byte> content) { return Bytes(std::make_shared<JoinedBuffer>(std::move(content))); }

/// In the place of an item's value.
void append_nothing(std::vector<std::byte>& to, std::uint64_t value_size) {
  if (value_size == packed_values)
    to.push_back(std::byte{0xc0});  // nil
  else
    to.resize(to.size() + value_size);
}

}  // namespace

void write_container_head(std::byte* to, std::uint8_t type, std::uint32_t count) noexcept {
  to[0] = std::byte{type};
  for (unsigned i = 0; i < 4; ++i) to[1 + i] = static_cast<std::byte>(count >> (24 - 8 * i));
}

std::optional<ChunkArguments> chunk_arguments(const Task& task) {
  ChunkArguments head{};
  if (!task.callable().chunk || task.arguments().size() < sizeof head) return std::nullopt;
  std::memcpy(&head, task.arguments().view().data(), sizeof head);
  return head;
}

std::exception_ptr LostItems::make(const std::string& task_name) const {
  return items_.begin()->second->make(task_name);
}

const Bytes* JoinedBuffer::part_of(std::uint64_t item) const noexcept {
  const auto part = std::ranges::upper_bound(parts_, item, {}, &Part::end);
  return part == parts_.end() || item < part->begin ? nullptr : &part->message;
}

/// As the chunk's callable makes them: so many values, and exceptions of items that are among these.
bool ChunkParts::makes_sense(const ChunkPart& part) const {
  if (part.items > chunk_.count - next_ || part.value_size != chunk_.value_size) return false;
  if (part.value_size == packed_values) {
    MessageWalk values(part.values, max_item_depth);
    for (std::uint64_t i = 0; i < part.items; ++i)
      if (!values.pass()) return false;
    if (!values.at_end()) return false;
  } else if (part.values.size() != part.items * part.value_size) {
    return false;
  }
  MessageWalk errors(part.errors, max_item_depth);
  for (std::uint32_t i = 0; i < part.error_count; ++i) {
    const auto item = errors.pass_number();
    if (!item || *item < next_ || *item - next_ >= part.items || !errors.pass()) return false;
  }
  return errors.at_end();
}

ChunkParts::Added ChunkParts::add(ChunkPart part) {
  if (part.items == 0) return Added::yes;
  if (part.memory.size() == 0) {  // its worker's: copied first, then looked at
    std::vector<std::byte> copy;
    append(copy, part.values);
    append(copy, part.errors);
    part.memory = in_buffer(std::move(copy));
    const auto all = part.memory.view();
    part.errors = all.subspan(part.values.size());
    part.values = all.first(part.values.size());
  }
  if (!makes_sense(part)) return Added::no;
  const std::uint64_t before = bytes_;
  bytes_ += part.values.size() + part.errors.size();
  if (max_result_ && before != bytes_ && bytes_ > *max_result_) return Added::too_long;
  next_ += part.items;
  parts_.push_back(std::move(part));
  return Added::yes;
}

ChunkParts::Added ChunkParts::add(const Bytes& message) {
  ChunkHead head{};
  ChunkPart part;
  part.memory = message.buffer() ? message : in_buffer({message.view().begin(), message.view().end()});
  const auto bytes = part.memory.view();
  if (bytes.size() < sizeof head) return Added::no;
  std::memcpy(&head, bytes.data(), sizeof head);
  const std::size_t values_at = sizeof head + (head.value_size == packed_values ? container_head : 0);
  if (head.count == 0 || head.errors_at < values_at || head.errors_at > bytes.size()) return Added::no;
  part.items = head.count;
  part.value_size = head.value_size;
  part.values = bytes.subspan(values_at, head.errors_at - values_at);
  const auto errors = bytes.subspan(head.errors_at);
  if (!errors.empty()) {
    if (errors.size() < container_head || errors[0] != std::byte{map_of_32_bits}) return Added::no;
    for (unsigned i = 0; i < 4; ++i)
      part.error_count = part.error_count << 8 | static_cast<std::uint8_t>(errors[1 + i]);
    part.errors = errors.subspan(container_head);
  }
  return add(std::move(part));
}

void ChunkParts::lose(std::shared_ptr<const Failure> failure) { lost_.emplace(next_++, std::move(failure)); }

bool ChunkParts::lose_rest(const std::shared_ptr<const Failure>& failure) {
  if (chunk_.count - next_ > most_lost_at_once) return false;
  while (!complete()) lose(failure);
  return true;
}

Outcome ChunkParts::join() const {
  ChunkHead head{static_cast<std::uint32_t>(next_), static_cast<std::uint32_t>(chunk_.value_size), 0};
  std::vector<std::byte> joined(sizeof head);
  if (head.value_size == packed_values) append_head(joined, array_of_32_bits, next_);
  std::vector<std::byte> errors;
  JoinedBuffer::Parts holding;
  std::uint64_t error_count = 0;
  std::uint64_t item = 0;
  const auto pass_lost_ones = [&] {
    for (; lost_.contains(item); ++item) append_nothing(joined, head.value_size);
  };
  for (const ChunkPart& part : parts_) {
    pass_lost_ones();
    append(joined, part.values);
    append(errors, part.errors);
    error_count += part.error_count;
    if (speaks_of_shared_memory(part.memory)) holding.push_back({item, item + part.items, part.memory});
    item += part.items;
  }
  pass_lost_ones();
  head.errors_at = joined.size();
  std::memcpy(joined.data(), &head, sizeof head);
  if (error_count != 0) append_head(joined, map_of_32_bits, error_count);
  append(joined, errors);
  Outcome outcome;
  outcome.bytes = Bytes(std::make_shared<JoinedBuffer>(std::move(joined), std::move(holding)));
  if (!lost_.empty()) outcome.failure = std::make_shared<LostItems>(lost_);
  return outcome;
}

}  // namespace wire

namespace detail {

ChunkResult::ChunkResult(Call& call, std::uint64_t count, std::uint32_t value_size)
    : call_(call), count_(count), value_size_(value_size), start_(call.result().size()) {
  const wire::ChunkHead head{};
  std::memcpy(out().extend(sizeof head), &head, sizeof head);
  if (value_size_ == packed_values) out().extend(wire::container_head);
  kept_ = out().size();
  call_.begin_items(value_size);
}

void ChunkResult::item_threw(std::size_t index, Phase phase) {
  Packer packer(errors_);
  packer.pack_uint64(index);
  pack_current_exception(errors_, phase);
  ++error_count_;
}

bool ChunkResult::item_done() {
  if (++done_ + call_.first_item() == count_) return true;  // the result comes at once
  const bool room = call_.keep_item(out().view().subspan(kept_), errors_.view().subspan(kept_errors_));
  kept_ = out().size();
  kept_errors_ = errors_.size();
  return room;
}

void ChunkResult::finish() {
  wire::ChunkHead head{static_cast<std::uint32_t>(done_), value_size_, out().size() - start_};
  std::byte* const at = out().data() + start_;
  std::memcpy(at, &head, sizeof head);
  if (value_size_ == packed_values) wire::write_container_head(at + sizeof head, wire::array_of_32_bits, head.count);
  if (error_count_ != 0) {
    wire::write_container_head(out().extend(wire::container_head), wire::map_of_32_bits, error_count_);
    Packer(out()).buffer().write(reinterpret_cast<const char*>(errors_.data()), errors_.size());
  }
  if (done_ + call_.first_item() < count_) call_.leave_rest();
}

ChunkReader::ChunkReader(const Task& task, std::size_t count)
    : task_(task), joined_(dynamic_cast<const wire::JoinedBuffer*>(task.value().buffer())) {
  if (const auto* lost = dynamic_cast<const wire::LostItems*>(task.failure())) lost_ = lost;
  const auto bytes = task.value().view();
  wire::ChunkHead head{};
  if (bytes.size() < sizeof head) throw_wrong_message_size(bytes.size(), sizeof head);
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.count != count || head.errors_at < sizeof head || head.errors_at > bytes.size())
    throw SerializationError(fmt::format("the result of a chunk of {} items is damaged", count));
  values_ = bytes.subspan(sizeof head, head.errors_at - sizeof head);
  if (head.errors_at == bytes.size()) return;
  errors_.emplace(bytes.subspan(head.errors_at));
  if (errors_->object().type != msgpack::type::MAP) throw_mismatch("the errors of a chunk", errors_->object());
  const auto& map = errors_->object().via.map;
  for (const auto& entry : std::span(map.ptr, map.size))
    if (entry.key.type == msgpack::type::POSITIVE_INTEGER) by_item_.emplace(entry.key.via.u64, &entry.val);
}

const Bytes& ChunkReader::message(std::size_t index) const {
  const Bytes* const part = joined_ ? joined_->part_of(index) : nullptr;
  return part ? *part : task_.value();
}

std::exception_ptr ChunkReader::error(std::size_t index) const {
  if (lost_)
    if (const auto found = lost_->items().find(index); found != lost_->items().end())
      return found->second->make(task_.name());
  const auto found = by_item_.find(index);
  return found == by_item_.end() ? nullptr : unpack_exception_object(*found->second, task_.worker_pid(), task_.name());
}

}  // namespace detail
}  // namespace yoke
