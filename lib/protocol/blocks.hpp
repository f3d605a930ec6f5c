// Blocks: what of shared memory goes to other machines: constant copies, each sent to a host once.
//
// A task is sent with the content that its arrays had when it was submitted. While an array's content stays the same,
// and for arrays of the same content, there is one block: known by its content, which is hashed and then compared.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>

#include "lib/wire/large_buffer.hpp"
#include "lib/wire/shared_memory.hpp"
#include "yoke/bytes.hpp"

namespace yoke::protocol {

using BlockNumber = std::uint64_t;  // of one content, never of another

/// A block as the payload of a frame.
Bytes payload_of(std::shared_ptr<SharedMemory> block);

class Blocks {
 public:
  /// Blocks in place of what arguments speak of; one array has one block in all of them. Throws std::system_error,
  /// std::bad_alloc.
  void replace(std::span<detail::HeldMemory> held);
  /// Of memory that is a block and is still held.
  BlockNumber number_of(const SharedMemory& block) const;
  bool empty() const;
  /// Forgets what nobody holds any more.
  void trim();
  /// Forgets all.
  void clear();

 private:
  struct Known {
    std::weak_ptr<SharedMemory> memory;
    BlockNumber number = 0;
    std::size_t hash = 0;
  };
  struct Copied {
    std::weak_ptr<SharedMemory> source;
    std::shared_ptr<SharedMemory> copy;  // of its content when it was last submitted
  };

  std::shared_ptr<SharedMemory> block_of(const std::shared_ptr<SharedMemory>& memory);
  std::shared_ptr<SharedMemory> copy_of(const SharedMemory& source) const;
  std::shared_ptr<SharedMemory> with_content(std::span<const std::byte> content, std::size_t hash) const;

  mutable std::mutex mutex_;
  std::unordered_map<const SharedMemory*, Known> known_;
  std::unordered_map<const SharedMemory*, Copied> copied_;
  BlockNumber last_number_ = 0;
};

}  // namespace yoke::protocol
