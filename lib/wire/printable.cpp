#include "lib/wire/printable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace yoke::wire {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t size = 0;  // bytes; 0: these are no UTF-8
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t head = byte(0);
  if (head < 0x80) return {head, 1};
  const std::size_t size = head >= 0xf0 ? 4 : head >= 0xe0 ? 3 : 2;
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (head < 0xc2 || head > 0xf4 || text.size() < size) return {};
  char32_t code = head & (0x7fU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, size};
}

bool is_control(char32_t code) { return (code < 0x20 && code != '\t') || (code >= 0x7f && code < 0xa0); }

/// Separates lines, or turns the direction of what follows.
bool rearranges(char32_t code) {
  return code == 0x061c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069);
}

std::string escape(char32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\r') return "\\r";
  const auto number = static_cast<std::uint32_t>(code);
  return code < 0x20 ? fmt::format("\\x{:02x}", number) : fmt::format("\\u{:04x}", number);
}

}  // namespace

std::string printable(std::string_view text, Lines lines, std::size_t most) {
  std::string shown;
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < std::min(text.size(), most - shown.size()) && text[plain] >= ' ' && text[plain] <= '~') ++plain;
    if (plain != 0) {
      shown += text.substr(0, plain);
      text.remove_prefix(plain);
      continue;
    }
    const auto [code, size] = first_character(text);
    const bool stays =
        size != 0 && ((code == '\n' && lines == Lines::several) || !(is_control(code) || rearranges(code)));
    const std::string escaped = stays       ? std::string()
                                : size != 0 ? escape(code)
                                            : fmt::format("\\x{:02x}", static_cast<std::uint8_t>(text[0]));
    const std::string_view piece = stays ? text.substr(0, size) : std::string_view(escaped);
    if (piece.size() > most - shown.size()) return shown + fmt::format("... ({} more bytes)", text.size());
    shown += piece;
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return shown;
}

}  // namespace yoke::wire
