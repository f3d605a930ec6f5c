// LargeBuffer: the memory of a message that outgrew the stack: of this process alone, or, of a worker's long result, a
// memfd that is lent to its parent.
//
// Filled by one thread (through PackBuffer), immutable afterwards. The memory of finished messages is kept warm
// (system/warm_store.hpp), since filling a fresh memfd costs ten times a copy into a warm one. What another process
// once had it may still see: so a lent memfd is used again for results to the same parent alone, and arguments, whose
// worker is not known while they are packed, are copied into memory of that worker's (channel/argument_memory.hpp).
#pragma once

#include <boost/container/small_vector.hpp>
#include <memory>

#include "lib/system/memfd.hpp"
#include "lib/system/warm_bytes.hpp"
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
  /// Results above this many bytes lie in a memfd.
  static constexpr std::size_t memfd_threshold = 64 * 1024;

  enum class For { this_process, parent };
  explicit LargeBuffer(For whom = For::this_process) : for_(whom) {}
  ~LargeBuffer() override;

  /// Room for `capacity` bytes, of which the first `keep` stay. Throws std::system_error, std::bad_alloc.
  void reserve(std::size_t capacity, std::size_t keep);
  void set_size(std::size_t size) noexcept { size_ = size; }
  std::byte* data() noexcept { return data_; }
  std::size_t capacity() const noexcept { return capacity_; }

  std::span<const std::byte> view() const override { return {data_, size_}; }
  std::size_t size() const noexcept override { return size_; }
  bool speaks_of_shared_memory() const noexcept override { return !held_.empty(); }

  /// Of the memfd, unique in this process; a warm memfd keeps its number.
  std::uint64_t number() const noexcept { return memory_.number; }

  /// The memfd of a long message for the parent, read-only; not written to again before it is closed there.
  /// Throws std::system_error.
  system::UniqueFd lend();

  /// What the message speaks of, kept with it.
  std::span<detail::HeldMemory> held() noexcept { return {held_.data(), held_.size()}; }
  void hold(std::shared_ptr<SharedMemory> memory, std::size_t at) { held_.push_back({std::move(memory), at}); }
  /// What the message speaks of from there on.
  void let_go_from(std::size_t at) noexcept;

  struct Memory {
    std::size_t size() const noexcept { return mapping.size(); }
    system::UniqueFd fd;
    system::Mapping mapping;
    std::uint64_t number = 0;
    unsigned generation = 0;  // of the process that made it: a fork has the same memory
    bool lent = false;  // not to be used while others have it
    bool given_away = false;  // never to be used again: when others have closed it cannot be known
  };

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
  For for_;
  system::WarmBytes heap_;
  Memory memory_;
  boost::container::small_vector<detail::HeldMemory, 1> held_;
  alignas(16) std::byte near_[80];  // of a short message that holds memory
};

/// What packed arguments speak of.
std::span<detail::HeldMemory> memory_of(const Bytes& arguments);

}  // namespace yoke
