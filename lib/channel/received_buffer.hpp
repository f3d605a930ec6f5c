// ReceivedBuffer: a long result that a worker has put into a memfd.
//
// It is fetched, once and by whoever asks for it first, with read calls, which a worker cannot turn into SIGBUS by
// shrinking the file, and into memory of this process, so that nobody changes it afterwards. The descriptor is closed
// then, by which the worker knows that its memory is free.
//
// Results may wait by the thousand, where a process may have few descriptors: only so many keep theirs. Beside them
// memory that cannot shrink is mapped instead, and as much as may be mapped; what else comes is fetched at once.
// Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>

#include "lib/system/memfd.hpp"
#include "lib/system/unique_fd.hpp"
#include "lib/system/warm_bytes.hpp"
#include "yoke/bytes.hpp"

namespace yoke::channel {

/// One of so many that all results together may have; given back with the object.
class Share {
 public:
  Share() = default;
  /// Empty if all are taken.
  static Share of(std::atomic<int>& taken, int most) noexcept;
  Share(Share&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  Share& operator=(Share&& other) noexcept {
    std::swap(taken_, other.taken_);
    return *this;
  }
  ~Share() {
    if (taken_) --*taken_;
  }
  explicit operator bool() const noexcept { return taken_ != nullptr; }

 private:
  std::atomic<int>* taken_ = nullptr;
};

class ReceivedBuffer final : public Buffer {
 public:
  /// Throws SerializationError, std::bad_alloc.
  ReceivedBuffer(system::UniqueFd descriptor, std::size_t size);
  std::size_t size() const noexcept override { return size_; }
  std::span<const std::byte> view() const override;

 private:
  void fetch(system::WarmBytes& into) const;
  bool map();

  mutable Share share_;  // for one of these two
  mutable system::UniqueFd descriptor_;
  mutable system::Mapping mapping_;
  std::size_t size_;
  mutable std::once_flag fetched_;
  mutable system::WarmBytes content_;
};

}  // namespace yoke::channel
