// ArenaRing: the books of an arena whose pieces are released in the order in which they were given out. Kept by the
// arena's one writer, in its own memory. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace yoke::channel {

class ArenaRing {
 public:
  ArenaRing(std::size_t size, std::size_t alignment) : size_(size), alignment_(alignment) {}

  /// Offset of `length` bytes in one piece, kept until positions up to `position` are released; empty if there is no
  /// room now.
  std::optional<std::size_t> allocate(std::size_t length, std::uint64_t position) {
    const std::size_t rounded = (length + alignment_ - 1) / alignment_ * alignment_;
    std::size_t at = head_;
    if (pieces_.empty()) {
      at = 0;
      if (rounded > size_) return std::nullopt;
    } else {
      const std::size_t tail = pieces_.front().begin;
      if (at > tail) {  // in use: [tail, at)
        if (size_ - at < rounded) {
          if (tail <= rounded) return std::nullopt;  // never up to the tail: a full ring would look empty
          at = 0;
        }
      } else if (tail - at <= rounded) {
        return std::nullopt;
      }
    }
    head_ = at + rounded;
    pieces_.push_back({position, at});
    return at;
  }
  /// Takes back what was given out for positions below `position`.
  void release_below(std::uint64_t position) {
    while (!pieces_.empty() && pieces_.front().position < position) pieces_.pop_front();
  }

 private:
  struct Piece {
    std::uint64_t position;
    std::size_t begin;
  };
  std::size_t size_;
  std::size_t alignment_;
  std::size_t head_ = 0;
  std::deque<Piece> pieces_;
};

}  // namespace yoke::channel
