#include "lib/protocol/kept_blocks.hpp"

#include <fmt/format.h>

#include "yoke/pack_buffer.hpp"

namespace yoke::protocol {

void KeptBlocks::keep(BlockNumber number, const Bytes& content, const std::string& trouble) {
  constexpr char cannot[] = "a shared array, or a broadcast value, cannot be had on the host: ";
  Kept block;
  if (!trouble.empty()) {
    block.trouble = cannot + trouble;
  } else {
    if (content.size() == 0) throw ProtocolError("a block without content");
    try {
      block.memory = SharedMemory::create_constant(content.view());
    } catch (const std::exception& error) {
      block.trouble = fmt::format("{}there is no memory for its {} bytes: {}", cannot, content.size(), error.what());
    }
  }
  blocks_.insert_or_assign(number, std::move(block));
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

}  // namespace yoke::protocol
