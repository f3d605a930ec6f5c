// Memory for many small objects of few sizes, any thread's to take and to give back.
//
// Blocks of one size lie in slabs of 2 MB, each a large page but for the first. A slab without a block in use is kept
// warm (see warm_memory.hpp), one of each size for good; so a burst of a million objects does not pay for its pages
// each time.
#pragma once

#include <cstddef>

namespace yoke::system {

/// Aligned to 16. Throws std::bad_alloc.
void* take_block(std::size_t size);
void give_back_block(void* block, std::size_t size) noexcept;

}  // namespace yoke::system
