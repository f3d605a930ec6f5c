// PackBuffer: where a message is packed. Small ones on the stack, large ones in memory of their own; a worker's long
// result straight into a memfd, which is handed to its parent without another copy.
//
// One thread at a time. write() throws std::system_error (ENOMEM, ENOSPC) when there is no room for the message.
#pragma once

#include "yoke/language.hpp"

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "yoke/bytes.hpp"
#include "yoke/export.hpp"

namespace yoke {

class LargeBuffer;
class SharedMemory;
namespace detail {
struct HeldMemory;
}

class YOKE_API PackBuffer {
 public:
  PackBuffer() noexcept : data_(small_), capacity_(sizeof small_) {}
  ~PackBuffer();
  PackBuffer(const PackBuffer&) = delete;
  PackBuffer& operator=(const PackBuffer&) = delete;

  void write(const char* data, std::size_t length) { std::memcpy(extend(length), data, length); }
  /// Room for `length` more bytes at the end, to be filled by the caller.
  std::byte* extend(std::size_t length) {
    if (length > capacity_ - size_) grow(length);
    std::byte* place = data_ + size_;
    size_ += length;
    return place;
  }
  std::byte* data() noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::span<const std::byte> view() const noexcept { return {data_, size_}; }
  void truncate(std::size_t size) noexcept {
    size_ = size;
    if (large_) let_go();
  }
  /// Of a worker's result, before anything is written.
  void lend_when_long() noexcept { lends_ = true; }
  /// The message speaks of this memory, by a place packed at `at`: whoever has the one keeps the other.
  void hold(std::shared_ptr<SharedMemory> memory, std::size_t at);
  std::span<const detail::HeldMemory> held() const noexcept;
  /// Where a long message lies, else null.
  LargeBuffer* large() const noexcept { return large_.get(); }
  /// The message; the buffer is empty afterwards.
  Bytes take();

 private:
  void grow(std::size_t length);
  void need_large();
  void let_go() noexcept;

  alignas(16) std::byte small_[256];
  std::byte* data_;
  std::size_t size_ = 0;
  std::size_t capacity_;
  bool lends_ = false;
  std::shared_ptr<LargeBuffer> large_;
};

}  // namespace yoke
