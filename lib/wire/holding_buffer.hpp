// HoldingBuffer: a result that speaks of shared memory, and the memory that came with it. Immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "lib/wire/shared_memory.hpp"
#include "yoke/bytes.hpp"

namespace yoke {

class HoldingBuffer final : public Buffer {
 public:
  /// By the inode that the content names, which that of a copy is not.
  using Held = std::vector<std::pair<std::uint64_t, std::shared_ptr<SharedMemory>>>;
  HoldingBuffer(Bytes content, Held held) : content_(std::move(content)), held_(std::move(held)) {}
  std::size_t size() const noexcept override { return content_.size(); }
  std::span<const std::byte> view() const override { return content_.view(); }
  bool speaks_of_shared_memory() const noexcept override { return true; }
  std::span<const Held::value_type> held() const noexcept { return held_; }

 private:
  Bytes content_;
  Held held_;
};

}  // namespace yoke
