// Text that a worker, an agent or a launcher wrote, made fit for a terminal, a log and an error's text: all such text
// passes through here before anybody is shown it.
#pragma once

#include <cstddef>
#include <exception>
#include <string>
#include <string_view>

namespace yoke::wire {

enum class Lines {
  one,  // ends of lines are escaped too: nothing in the text can pass for a line of ours
  several  // they stay
};

/// The most that is shown of a text of several sentences or lines, and of what names something or gives a short reason.
inline constexpr std::size_t most_text = 16 * 1024, most_words = 1024;

/// As UTF-8. What a terminal obeys, and what hides or turns around other text, is shown as \x1b or \u202e: controls but
/// the tab, line and paragraph separators, marks and overrides of direction, and bytes that are no UTF-8. So the text
/// within a JSON string stays the same string. What is beyond `most` bytes is counted and left out.
std::string printable(std::string_view text, Lines lines, std::size_t most = std::string::npos);

/// what(), which a type may let be null.
inline std::string_view text_of(const std::exception& error) noexcept {
  const char* text = error.what();
  return text ? text : "";
}

}  // namespace yoke::wire
