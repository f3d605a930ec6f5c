#include "lib/system/warm_bytes.hpp"

#include "lib/system/large_pages.hpp"
#include "lib/system/warm_store.hpp"

namespace yoke::system {
namespace {

constexpr std::size_t worth_keeping = 64 * 1024;

struct Piece {
  std::size_t size() const noexcept { return capacity; }
  std::unique_ptr<std::byte[]> bytes;
  std::size_t capacity = 0;
};

WarmStore<Piece>& warm() {
  static auto& store = WarmStore<Piece>::make();
  return store;
}
[[maybe_unused]] const WarmStore<Piece>& made_at_load = warm();

}  // namespace

WarmBytes::WarmBytes(std::size_t size) {
  if (size < worth_keeping) {
    bytes_ = std::make_unique_for_overwrite<std::byte[]>(size);
    size_ = size;
    return;
  }
  if (auto piece = warm().take(size, [](const Piece&) { return true; })) {
    bytes_ = std::move(piece->bytes);
    size_ = piece->capacity;
    return;
  }
  bytes_ = std::make_unique_for_overwrite<std::byte[]>(size);
  size_ = size;
  use_large_pages(bytes_.get(), size);
}

WarmBytes::~WarmBytes() {
  if (size_ >= worth_keeping) warm().give_back({std::move(bytes_), size_});
}

}  // namespace yoke::system
