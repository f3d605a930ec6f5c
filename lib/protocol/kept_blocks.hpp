// KeptBlocks: an agent's half of blocks.hpp: the client's shared memory, as memory of this process that its workers
// find.
//
// One thread. A block that there was no memory for is kept as the reason, which its tasks are refused with. Memory that
// a task speaks of stays while the task does, dropped or not.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "lib/protocol/blocks.hpp"
#include "lib/protocol/notes.hpp"

namespace yoke::protocol {

/// There was no memory for it; says so.
class NoBlock : public Error {
 public:
  using Error::Error;
};

class KeptBlocks {
 public:
  /// `trouble`: why its content is not there; empty: it is. Throws ProtocolError.
  void keep(BlockNumber number, const Bytes& content, const std::string& trouble);
  void drop(BlockNumber number) { blocks_.erase(number); }
  /// The arguments, which speak of this process's memory where they spoke of the client's. Throws NoBlock, Error.
  Bytes put_into(const Bytes& arguments, std::span<const PlaceNote> places) const;

 private:
  struct Kept {
    std::shared_ptr<SharedMemory> memory;
    std::string trouble;  // why there is none
  };
  std::unordered_map<BlockNumber, Kept> blocks_;
};

}  // namespace yoke::protocol
