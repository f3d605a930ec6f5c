// Chunk: the messages of a task that calls one function for many items of a map.
//
// A chunk may come back in parts: what a worker had finished when it died, or when there was no more room to keep
// results where its parent finds them. ChunkParts puts them together; of the items that no worker could finish it keeps
// the failures.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "yoke/pool.hpp"

namespace yoke::wire {

/// At the front of the arguments.
struct ChunkArguments {
  std::uint64_t count;  // items
  std::uint64_t number;  // of the first of them, within its map
  std::uint64_t value_size;  // of each item's value, as in ChunkHead
};
/// Empty if the task is no chunk.
std::optional<ChunkArguments> chunk_arguments(const Task& task);

/// At the front of a result. The values follow, and then, if an item threw, a msgpack map of item to exception.
struct ChunkHead {
  std::uint32_t count;  // items done: their values are here
  std::uint32_t value_size;  // of each value; packed_values if they are one msgpack array
  std::uint64_t errors_at;  // where the errors begin
};
inline constexpr std::uint32_t packed_values = UINT32_MAX;
inline constexpr std::size_t container_head = 5;  // bytes of the head of a msgpack array or map of 32-bit length
void write_container_head(std::byte* to, std::uint8_t type, std::uint32_t count) noexcept;

/// Items that are done.
struct ChunkPart {
  std::uint64_t items = 0;
  std::uint32_t value_size = 0;
  std::uint32_t error_count = 0;
  std::span<const std::byte> values{};  // without the head of an array
  std::span<const std::byte> errors{};  // without the head of a map
  Bytes memory{};  // where they lie, if they are not copied
};

/// The items that were lost with their workers, beside the values of the others.
class LostItems final : public Failure {
 public:
  using Items = std::map<std::uint64_t, std::shared_ptr<const Failure>>;  // by their place in the chunk
  explicit LostItems(Items items) : items_(std::move(items)) {}
  const Items& items() const noexcept { return items_; }
  /// Of the first of them.
  std::exception_ptr make(const std::string& task_name) const override;

 private:
  Items items_;
};

/// What was put together of parts.
class JoinedBuffer final : public Buffer {
 public:
  /// One that speaks of shared memory, which it holds.
  struct Part {
    std::uint64_t begin;  // of its items
    std::uint64_t end;
    Bytes message;
  };
  using Parts = std::vector<Part>;  // in the order of their items
  explicit JoinedBuffer(std::vector<std::byte> content, Parts parts = {})
      : content_(std::move(content)), parts_(std::move(parts)) {}
  std::span<const std::byte> view() const override { return content_; }
  std::size_t size() const noexcept override { return content_.size(); }
  bool speaks_of_shared_memory() const noexcept override { return !parts_.empty(); }
  /// That in which the item came; null: it speaks of no shared memory.
  const Bytes* part_of(std::uint64_t item) const noexcept;

 private:
  std::vector<std::byte> content_;
  Parts parts_;
};

/// The parts of one chunk. Each is what a worker says, which may be anything: it is checked by itself before it joins
/// those of other workers, so that what is wrong with it is wrong with its own items alone.
class ChunkParts {
 public:
  enum class Added {
    yes,
    no,  // it makes no sense
    too_long  // all together would have more than max_result bytes
  };
  explicit ChunkParts(const ChunkArguments& chunk, std::optional<std::size_t> max_result = {})
      : chunk_(chunk), max_result_(max_result) {}
  /// The first item of which nothing is known.
  std::uint64_t next() const noexcept { return next_; }
  bool complete() const noexcept { return next_ == chunk_.count; }
  /// The items from next() on; copies what is in no memory of its own.
  Added add(ChunkPart part);
  /// As a worker published them. Throws SerializationError if the message cannot be had any more, std::bad_alloc.
  Added add(const Bytes& message);
  /// Of the result as a whole, with the part that was added last, or was too long.
  std::uint64_t bytes() const noexcept { return bytes_; }
  /// That of next() is lost.
  void lose(std::shared_ptr<const Failure> failure);
  /// All others too. False, and nothing has changed, if they are too many to be told one by one.
  bool lose_rest(const std::shared_ptr<const Failure>& failure);
  /// The result of the whole chunk, with LostItems if some were lost.
  Outcome join() const;

 private:
  bool makes_sense(const ChunkPart& part) const;

  ChunkArguments chunk_;
  std::optional<std::size_t> max_result_;
  std::uint64_t next_ = 0;
  std::uint64_t bytes_ = sizeof(ChunkHead) + 2 * container_head;
  std::vector<ChunkPart> parts_;
  LostItems::Items lost_;
};

}  // namespace yoke::wire
