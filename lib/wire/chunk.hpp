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
#include <vector>

#include "yoke/pool.hpp"

namespace yoke::wire {

/// At the front of the arguments.
struct ChunkArguments {
  std::uint64_t count;  // items
  std::uint64_t number;  // of the first of them, within its map
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

class ChunkParts {
 public:
  explicit ChunkParts(std::uint64_t count) : count_(count) {}
  /// The first item of which nothing is known.
  std::uint64_t next() const noexcept { return next_; }
  bool complete() const noexcept { return next_ == count_; }
  /// The items from next() on; copies what is in no memory of its own. False if there are more than are due.
  bool add(ChunkPart part);
  /// As a worker published them; false if they make no sense.
  bool add(const Bytes& message);
  /// That of next() is lost.
  void lose(std::shared_ptr<const Failure> failure);
  /// The result of the whole chunk, with LostItems if some were lost.
  Outcome join() const;

 private:
  std::uint64_t count_;
  std::uint64_t next_ = 0;
  std::vector<ChunkPart> parts_;
  LostItems::Items lost_;
};

}  // namespace yoke::wire
