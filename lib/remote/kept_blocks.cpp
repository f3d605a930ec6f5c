#include "lib/remote/kept_blocks.hpp"

#include <fmt/format.h>

#include "yoke/pack_buffer.hpp"

namespace yoke::remote {

void KeptBlocks::keep(const Frame& frame) {
  constexpr char trouble[] = "a shared array, or a broadcast value, cannot be had on the host: ";
  Kept block;
  if (!frame.trouble.empty()) {
    block.trouble = trouble + frame.trouble;
  } else {
    if (frame.payload.size() == 0) throw ProtocolError("a block without content");
    try {
      block.memory = SharedMemory::create_constant(frame.payload.view());
    } catch (const std::exception& error) {
      block.trouble =
          fmt::format("{}there is no memory for its {} bytes: {}", trouble, frame.payload.size(), error.what());
    }
  }
  blocks_.insert_or_assign(unpack_note<BlockNote>(frame.head).number, std::move(block));
}

Bytes KeptBlocks::put_into(const Bytes& arguments, std::span<const PlaceNote> places) const {
  PackBuffer packed;
  const auto content = arguments.view();
  packed.write(reinterpret_cast<const char*>(content.data()), content.size());
  for (const PlaceNote& place : places) {
    const auto found = blocks_.find(place.block);
    if (found == blocks_.end()) throw Error("the host was not sent its shared array");
    if (!found->second.memory) throw NoBlock(found->second.trouble);
    shared_place::write({packed.data(), packed.size()}, place.at, found->second.memory->place());
    packed.hold(found->second.memory, place.at);
  }
  return packed.take();
}

}  // namespace yoke::remote
