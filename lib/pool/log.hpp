// What a pool says of itself on stderr when YOKE_LOG=info or debug is in the environment; nothing otherwise.
// Any thread. A line is one write.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "lib/system/rights.hpp"
#include "lib/wire/printable.hpp"

namespace yoke::pool {

enum class LogLevel { off, info, debug };

/// From the environment, asked for once.
inline LogLevel log_level() {
  static const LogLevel level = [] {
    const std::string name = system::own_variable("YOKE_LOG").value_or("");
    return name == "debug" ? LogLevel::debug : name == "info" ? LogLevel::info : LogLevel::off;
  }();
  return level;
}

template <class... T>
void log(LogLevel level, fmt::format_string<T...> format, T&&... values) {
  if (level > log_level()) return;
  const std::string text = fmt::format(format, std::forward<T>(values)...);
  const std::string line =
      fmt::format("yoke[{}]: {}\n", ::getpid(), wire::printable(text, wire::Lines::one, wire::most_text));
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // nobody listens
}

}  // namespace yoke::pool
