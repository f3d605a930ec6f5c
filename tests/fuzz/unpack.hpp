// What a caller does with bytes that came from a worker.
#pragma once

#include <cstddef>
#include <span>

namespace yoke_fuzz {

/// Unpacks the bytes as a chunk of `count` items, as a value of some type, or as an exception; they may be none of
/// these.
void unpack(std::span<const std::byte> bytes, unsigned as, std::size_t count);

}  // namespace yoke_fuzz
