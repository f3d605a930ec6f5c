#include "lib/channel/received_buffer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "yoke/error.hpp"

namespace yoke::channel {

ReceivedBuffer::ReceivedBuffer(system::UniqueFd descriptor, std::size_t size)
    : descriptor_(std::move(descriptor)), size_(size) {}

std::span<const std::byte> ReceivedBuffer::view() const {
  std::call_once(fetched_, [this] {
    if (!descriptor_.is_own())
      throw SerializationError(
          fmt::format("a result of {} bytes cannot be read: the program has closed its descriptor", size_));
    system::WarmBytes content(size_);
    for (std::size_t done = 0; done < size_;) {
      const ssize_t n = ::pread(descriptor_.get(), content.data() + done, size_ - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw SerializationError(fmt::format("a result of {} bytes ends after {} bytes", size_, done));
      done += static_cast<std::size_t>(n);
    }
    content_ = std::move(content);
    descriptor_.reset();
  });
  return {content_.data(), size_};
}

}  // namespace yoke::channel
