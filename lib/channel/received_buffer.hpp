// ReceivedBuffer: a long result that a worker has put into a memfd.
//
// It is fetched, once and by whoever asks for it first, with read calls, which a worker cannot turn into SIGBUS by shrinking
// the file, and into memory of this process, so that nobody changes it afterwards. The descriptor is closed then, by which
// the worker knows that its memory is free. Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "lib/system/unique_fd.hpp"
#include "yoke/bytes.hpp"

namespace yoke::channel {

class ReceivedBuffer final : public Buffer {
 public:
  ReceivedBuffer(system::UniqueFd descriptor, std::size_t size);
  ~ReceivedBuffer() override;
  std::size_t size() const noexcept override { return size_; }
  std::span<const std::byte> view() const override;

  /// Memory of this process, kept warm between two results.
  struct Memory {
    std::size_t size() const noexcept { return capacity; }
    std::unique_ptr<std::byte[]> bytes;
    std::size_t capacity = 0;
  };

 private:
  mutable system::UniqueFd descriptor_;
  std::size_t size_;
  mutable std::once_flag fetched_;
  mutable Memory content_;
};

}  // namespace yoke::channel
