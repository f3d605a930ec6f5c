// WarmBytes: memory of this process alone for the bytes of a message, kept warm after its use if it is long (see
// warm_memory.hpp).
//
// Its content is whatever was there before. Move-only. Any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace yoke::system {

class WarmBytes {
 public:
  WarmBytes() = default;
  /// At least so many bytes. Throws std::bad_alloc.
  explicit WarmBytes(std::size_t size);
  ~WarmBytes();
  WarmBytes(WarmBytes&& other) noexcept : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  WarmBytes& operator=(WarmBytes&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }

  [[nodiscard]] std::byte* data() const noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_ = 0;
};

}  // namespace yoke::system
