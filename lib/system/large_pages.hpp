// Large pages for memory that is about to be filled: the kernel then clears and maps 2 MB at once and not 4 KB, which
// costs a fifth.
#pragma once

#include <cstddef>

namespace yoke::system {

/// A hint that changes no content; where the kernel has no such pages, or the memory is too small for one, it does
/// nothing.
void use_large_pages(void* memory, std::size_t bytes) noexcept;

}  // namespace yoke::system
