// ReceivedBuffer: a long result that a worker has put into a memfd.
//
// It is fetched, once and by whoever asks for it first, with read calls, which a worker cannot turn into SIGBUS by shrinking
// the file, and into memory of this process, so that nobody changes it afterwards. The descriptor is closed then, by which
// the worker knows that its memory is free. Thread-safe.
#pragma once

#include <cstddef>
#include <mutex>

#include "lib/system/unique_fd.hpp"
#include "lib/system/warm_bytes.hpp"
#include "yoke/bytes.hpp"

namespace yoke::channel {

class ReceivedBuffer final : public Buffer {
 public:
  ReceivedBuffer(system::UniqueFd descriptor, std::size_t size);
  std::size_t size() const noexcept override { return size_; }
  std::span<const std::byte> view() const override;

 private:
  mutable system::UniqueFd descriptor_;
  std::size_t size_;
  mutable std::once_flag fetched_;
  mutable system::WarmBytes content_;
};

}  // namespace yoke::channel
