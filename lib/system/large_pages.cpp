#include "lib/system/large_pages.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace yoke::system {

void use_large_pages(void* memory, std::size_t bytes) noexcept {
  constexpr std::uintptr_t page = 2 * 1024 * 1024;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + bytes) / page * page;
  if (first >= last) return;
  const int before = errno;  // callers are in the middle of unpacking a value
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  errno = before;
}

}  // namespace yoke::system
