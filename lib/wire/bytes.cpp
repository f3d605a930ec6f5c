// Bytes and PackBuffer: the compiled halves.
#include "yoke/bytes.hpp"

#include "lib/wire/large_buffer.hpp"
#include "lib/wire/shared_memory.hpp"
#include "yoke/pack_buffer.hpp"

namespace yoke {

Buffer::~Buffer() = default;

std::shared_ptr<const Buffer> Bytes::copy_to_buffer(std::span<const std::byte> content) {
  auto buffer = std::make_shared<LargeBuffer>();
  buffer->reserve(content.size(), 0);
  std::memcpy(buffer->data(), content.data(), content.size());
  buffer->set_size(content.size());
  return buffer;
}

PackBuffer::~PackBuffer() = default;

void PackBuffer::need_large() {
  using For = LargeBuffer::For;
  if (!large_) large_ = std::make_shared<LargeBuffer>(lends_ ? For::parent : For::this_process);
}

void PackBuffer::grow(std::size_t length) {
  need_large();
  const bool on_stack = data_ == small_;
  large_->reserve(std::max(size_ + length, 2 * capacity_), on_stack ? 0 : size_);
  if (on_stack) std::memcpy(large_->data(), small_, size_);
  data_ = large_->data();
  capacity_ = large_->capacity();
}

void PackBuffer::hold(std::shared_ptr<SharedMemory> memory, std::size_t at) {
  need_large();
  large_->hold(std::move(memory), at);
}

/// Of what the message speaks of behind its end.
void PackBuffer::let_go() noexcept { large_->let_go_from(size_); }

std::span<const detail::HeldMemory> PackBuffer::held() const noexcept {
  if (!large_) return {};
  return large_->held();
}

Bytes PackBuffer::take() {
  const bool holds = !held().empty();
  if (holds && data_ == small_) {  // the message keeps what it holds with it
    large_->reserve(size_, 0);
    std::memcpy(large_->data(), small_, size_);
  }
  const bool is_large = holds || (data_ != small_ && size_ > Bytes::inline_capacity);
  if (is_large) large_->set_size(size_);
  Bytes bytes = is_large ? Bytes(std::shared_ptr<const Buffer>(std::move(large_))) : Bytes(view());
  large_.reset();
  data_ = small_;
  capacity_ = sizeof small_;
  size_ = 0;
  return bytes;
}

}  // namespace yoke
