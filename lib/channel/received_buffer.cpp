#include "lib/channel/received_buffer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "lib/system/large_pages.hpp"
#include "lib/system/warm_store.hpp"
#include "yoke/error.hpp"

namespace yoke::channel {
namespace {

using Memory = ReceivedBuffer::Memory;

system::WarmStore<Memory>& warm() {
  static auto& store = system::WarmStore<Memory>::make();
  return store;
}

Memory take_memory(std::size_t size) {
  if (auto memory = warm().take(size, [](const Memory&) { return true; })) return std::move(*memory);
  Memory memory{std::make_unique_for_overwrite<std::byte[]>(size), size};
  system::use_large_pages(memory.bytes.get(), size);
  return memory;
}

}  // namespace

ReceivedBuffer::ReceivedBuffer(system::UniqueFd descriptor, std::size_t size)
    : descriptor_(std::move(descriptor)), size_(size) {}

ReceivedBuffer::~ReceivedBuffer() {
  if (content_.bytes) warm().give_back(std::move(content_));
}

std::span<const std::byte> ReceivedBuffer::view() const {
  std::call_once(fetched_, [this] {
    Memory content = take_memory(size_);
    for (std::size_t done = 0; done < size_;) {
      const ssize_t n = ::pread(descriptor_.get(), content.bytes.get() + done, size_ - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) throw SerializationError(fmt::format("a result of {} bytes ends after {} bytes", size_, done));
      done += static_cast<std::size_t>(n);
    }
    content_ = std::move(content);
    descriptor_.reset();
  });
  return {content_.bytes.get(), size_};
}

}  // namespace yoke::channel
