// MessageWalk: over values that lie side by side in a message which may be damaged, or made up. Nothing is unpacked,
// and nothing allocated for what the bytes claim.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace yoke::wire {

class MessageWalk {
 public:
  /// `depth`: of arrays and maps within each other.
  MessageWalk(std::span<const std::byte> bytes, std::size_t depth) : bytes_(bytes), depth_(depth) {}
  /// Over one value; false, and at the same place, if there is no whole one, or one that nests deeper.
  bool pass();
  /// The same of a whole number, which is not negative.
  std::optional<std::uint64_t> pass_number();
  bool at_end() const noexcept { return at_ == bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  std::size_t depth_;
  std::size_t at_ = 0;
};

}  // namespace yoke::wire
