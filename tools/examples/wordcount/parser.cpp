// Runs of word characters, sections, and the bug.
#include "parser.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <optional>

namespace wordcount {
namespace {

constexpr std::size_t section_count = 16;

enum class Kind : std::uint8_t { other, digit, letter };

constexpr std::array<Kind, 256> kinds = [] {
  std::array<Kind, 256> table{};
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = Kind::digit;
  for (unsigned c = 'A'; c <= 'Z'; ++c) table[c] = table[c - 'A' + 'a'] = Kind::letter;
  table['_'] = Kind::letter;
  return table;
}();

Kind kind_of(char c) noexcept { return kinds[static_cast<unsigned char>(c)]; }

/// Takes `word` and the blanks around it from the front of the text.
bool take(std::string_view& text, std::string_view word) noexcept {
  const auto skip_blanks = [&text] { text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size())); };
  skip_blanks();
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  skip_blanks();
  return true;
}

/// The number of the section that begins on the line around `at`, if that is what the line says.
std::optional<std::int64_t> section_mark(std::string_view text, std::size_t at) noexcept {
  std::string_view line = text.substr(text.rfind('\n', at) + 1);  // npos + 1 is the start of the text
  line = line.substr(0, line.find('\n'));
  if (!take(line, "#") || !take(line, "pragma") || !take(line, "wordcount") || !take(line, "section")) return {};
  std::int64_t number = 0;
  if (std::from_chars(line.data(), line.data() + line.size(), number).ec != std::errc()) return {};
  return number;
}

/// Books what was counted since the last mark.
///
/// THE BUG of this example: `number` comes from the file and nothing holds it against the size of the table. Behind a
/// plain pointer and out of line, no compiler can tell that from a correct program, so none leaves the access out; and
/// the number in poison.h is so far off that no memory can be mapped there.
[[gnu::noinline]] void add_to_section(std::uint64_t* sections, std::int64_t number, std::uint64_t identifiers) {
  sections[number] += identifiers;
}

}  // namespace

std::uint64_t count_identifiers(std::string_view text, Tally& tally) {
  std::array<std::uint64_t, section_count> sections{};
  std::int64_t section = 0;
  std::uint64_t identifiers = 0;  // in this section so far
  std::size_t at = 0;
  while (at < text.size()) {
    while (at < text.size() && kind_of(text[at]) != Kind::letter) ++at;
    const std::size_t begin = at;
    while (at < text.size() && kind_of(text[at]) != Kind::other) ++at;
    if (at == begin) break;
    const std::string_view name = text.substr(begin, at - begin);
    tally.add(name);
    ++identifiers;
    if (name != "wordcount") continue;
    if (const auto next = section_mark(text, begin)) {
      add_to_section(sections.data(), section, identifiers);
      section = *next;
      identifiers = 0;
    }
  }
  add_to_section(sections.data(), section, identifiers);
  return std::accumulate(sections.begin(), sections.end(), std::uint64_t{0});
}

}  // namespace wordcount
