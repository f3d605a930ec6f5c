// All of some bytes through a descriptor that blocks. False when the other side is gone.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>

namespace yoke::bench {

inline bool write_all(int fd, std::span<const std::byte> from) {
  while (!from.empty()) {
    const ssize_t size = ::write(fd, from.data(), from.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return false;
    from = from.subspan(static_cast<std::size_t>(size));
  }
  return true;
}

inline bool read_all(int fd, std::span<std::byte> into) {
  while (!into.empty()) {
    const ssize_t size = ::read(fd, into.data(), into.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(size));
  }
  return true;
}

}  // namespace yoke::bench
