// LargeBuffer: the memory of a message that outgrew the stack: heap first, then a memfd that can be handed to a worker.
//
// Filled by one thread (through PackBuffer), immutable afterwards. Memfds of finished messages are kept warm
// (system/warm_memory.hpp), since filling a fresh one costs ten times a copy into a warm one.
#pragma once

#include <memory>
#include <vector>

#include "lib/system/memfd.hpp"
#include "yoke/bytes.hpp"

namespace yoke {

class SharedMemory;

namespace detail {

/// Memory that a message speaks of, and where in the message its place is.
struct HeldMemory {
  std::shared_ptr<SharedMemory> memory;
  std::size_t at = 0;
};

}  // namespace detail

class LargeBuffer final : public Buffer {
 public:
  /// Messages above this many bytes lie in a memfd.
  static constexpr std::size_t memfd_threshold = 64 * 1024;

  LargeBuffer() = default;
  ~LargeBuffer() override;

  /// Room for `capacity` bytes, of which the first `keep` stay. Throws std::system_error, std::bad_alloc.
  void reserve(std::size_t capacity, std::size_t keep);
  void set_size(std::size_t size) noexcept { size_ = size; }
  std::byte* data() noexcept { return data_; }
  std::size_t capacity() const noexcept { return capacity_; }

  std::span<const std::byte> view() const override { return {data_, size_}; }
  std::size_t size() const noexcept override { return size_; }
  int descriptor() const noexcept override { return memory_.fd.get(); }
  bool speaks_of_shared_memory() const noexcept override { return !held_.empty(); }

  /// Of the memfd, unique in this process; a warm memfd keeps its number.
  std::uint64_t number() const noexcept { return memory_.number; }

  /// What the message speaks of, kept with it.
  std::vector<detail::HeldMemory>& held() noexcept { return held_; }

  struct Memory {
    system::UniqueFd fd;
    system::Mapping mapping;
    std::uint64_t number = 0;
  };

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::unique_ptr<std::byte[]> heap_;
  Memory memory_;
  std::vector<detail::HeldMemory> held_;
};

}  // namespace yoke
