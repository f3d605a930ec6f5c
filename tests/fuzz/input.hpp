// Input: the bytes of a fuzzer's input, taken one value after another; zeros when there are none left.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace yoke_fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(std::as_bytes(std::span(data, size))) {}

  bool empty() const noexcept { return left_.empty(); }
  std::span<const std::byte> bytes(std::size_t most) {
    const auto taken = left_.first(std::min(most, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  template <class T>
  T take() {
    T value{};
    const auto taken = bytes(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  std::size_t below(std::size_t end) { return take<std::uint8_t>() % end; }
  /// One of the numbers that lengths and indices go wrong with, or one near `usual`.
  std::uint64_t number(std::uint64_t usual) {
    switch (below(6)) {
      case 0: return usual;
      case 1: return usual + 1;
      case 2: return take<std::uint8_t>();
      case 3: return take<std::uint32_t>();
      case 4: return take<std::uint64_t>();
      default: return UINT64_MAX - take<std::uint8_t>();
    }
  }

 private:
  std::span<const std::byte> left_;
};

}  // namespace yoke_fuzz
