// LargeBuffer: the memory of a message that outgrew the stack: heap first, then a memfd that can be handed to a worker.
//
// Filled by one thread (through PackBuffer), immutable afterwards. Memfds of finished messages are kept warm
// (system/warm_store.hpp), since filling a fresh one costs ten times a copy into a warm one.
#pragma once

#include <boost/container/small_vector.hpp>
#include <memory>

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

  /// The memfd for another process, read-only. This one does not write to its memory again before all have closed it.
  /// Throws std::system_error.
  system::UniqueFd lend();

  /// What the message speaks of, kept with it.
  std::span<detail::HeldMemory> held() noexcept { return {held_.data(), held_.size()}; }
  void hold(std::shared_ptr<SharedMemory> memory, std::size_t at) { held_.push_back({std::move(memory), at}); }

  struct Memory {
    std::size_t size() const noexcept { return mapping.size(); }
    system::UniqueFd fd;
    system::Mapping mapping;
    std::uint64_t number = 0;
    unsigned generation = 0;  // of the process that made it: a fork has the same memory
    bool lent = false;        // not to be used while others have it
  };

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  std::unique_ptr<std::byte[]> heap_;
  Memory memory_;
  boost::container::small_vector<detail::HeldMemory, 1> held_;
  alignas(16) std::byte near_[80];  // of a short message that holds memory
};

}  // namespace yoke
