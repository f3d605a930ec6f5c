// Bytes: a packed message. Short ones lie in the object itself, long ones in a shared Buffer.
//
// A value type, not thread-safe by itself; the Buffer behind it is immutable and may be shared between threads.
#pragma once

#include "yoke/language.hpp"

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "yoke/export.hpp"

namespace yoke {

/// Immutable memory of a long message. What it is made of (heap, a memfd, a worker's segment) is its own affair.
class YOKE_API Buffer {
 public:
  virtual ~Buffer();
  /// The content. May fetch it at the first call; throws SerializationError if it cannot be had any more.
  virtual std::span<const std::byte> view() const = 0;
  /// Length in bytes, known without fetching.
  virtual std::size_t size() const noexcept = 0;
  /// Whether the content speaks of shared memory, which only processes of this machine can have.
  virtual bool speaks_of_shared_memory() const noexcept { return false; }
};

class Bytes {
 public:
  static constexpr std::size_t inline_capacity = 40;

  Bytes() noexcept : length_(0) {}
  explicit Bytes(std::span<const std::byte> content) {
    if (content.size() <= inline_capacity) {
      if (!content.empty()) std::memcpy(inline_, content.data(), content.size());
      length_ = static_cast<unsigned char>(content.size());
    } else {
      emplace(copy_to_buffer(content));
    }
  }
  explicit Bytes(std::shared_ptr<const Buffer> buffer) noexcept { emplace(std::move(buffer)); }
  Bytes(Bytes&& other) noexcept : length_(0) { take(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  Bytes(const Bytes& other) : length_(0) {
    if (other.external())
      emplace(other.buffer_);
    else
      copy_inline(other);
  }
  Bytes& operator=(const Bytes& other) {
    if (this != &other) *this = Bytes(other);
    return *this;
  }
  ~Bytes() { clear(); }

  std::size_t size() const noexcept { return external() ? buffer_->size() : length_; }
  std::span<const std::byte> view() const {
    return external() ? buffer_->view() : std::span<const std::byte>(inline_, length_);
  }
  /// The buffer of a long message, null for a short one.
  const Buffer* buffer() const noexcept { return external() ? buffer_.get() : nullptr; }
  std::shared_ptr<const Buffer> shared_buffer() const noexcept {
    return external() ? buffer_ : std::shared_ptr<const Buffer>();
  }
  void clear() noexcept {
    if (external()) buffer_.~shared_ptr();
    length_ = 0;
  }

 private:
  static constexpr unsigned char external_mark = 255;

  YOKE_API static std::shared_ptr<const Buffer> copy_to_buffer(std::span<const std::byte> content);
  bool external() const noexcept { return length_ == external_mark; }
  void emplace(std::shared_ptr<const Buffer> buffer) noexcept {
    new (&buffer_) std::shared_ptr<const Buffer>(std::move(buffer));
    length_ = external_mark;
  }
  void copy_inline(const Bytes& other) noexcept {
    std::memcpy(inline_, other.inline_, inline_capacity);
    length_ = other.length_;
  }
  void take(Bytes& other) noexcept {
    if (other.external()) {
      emplace(std::move(other.buffer_));
      other.clear();
    } else {
      copy_inline(other);
      other.length_ = 0;
    }
  }

  union {
    alignas(16) std::byte inline_[inline_capacity]{};  // as arrays of plain elements are within a message
    std::shared_ptr<const Buffer> buffer_;
  };
  unsigned char length_;
};

}  // namespace yoke
