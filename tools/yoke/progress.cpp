// The text of the bar, and its drawing by carriage return and "erase line".
#include "progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace yoke::tools {
namespace {

using Seconds = std::chrono::duration<double>;

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void put(std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());  // only for the eye
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::min(seconds, 359999.0) + 0.5);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

std::string progress_text(const Progress::Count& count, Seconds elapsed, std::size_t width) {
  std::string text =
      count.total ? fmt::format("{} of {} done", count.done, *count.total) : fmt::format("{} done", count.done);
  if (count.failed > 0) text += fmt::format(", {} failed", count.failed);
  if (count.deaths > 0) text += fmt::format(", {} worker{} died", count.deaths, count.deaths == 1 ? "" : "s");
  const double rate = elapsed.count() > 0 ? static_cast<double>(count.done) / elapsed.count() : 0;
  if (rate > 0) text += fmt::format(", {:.{}f}/s", rate, rate < 10 ? 2 : 0);
  if (rate > 0 && count.total && *count.total > count.done)
    text += fmt::format(", {} left", clock_text(static_cast<double>(*count.total - count.done) / rate));
  constexpr std::size_t narrowest_bar = 10;
  constexpr std::size_t widest_bar = 30;
  if (count.total && *count.total > 0 && text.size() + narrowest_bar + 3 <= width) {
    const std::size_t cells = std::min(widest_bar, width - text.size() - 3);
    const auto full = static_cast<std::size_t>(static_cast<double>(cells) * static_cast<double>(count.done) /
                                               static_cast<double>(*count.total));
    text = fmt::format("[{:<{}}] {}", std::string(std::min(full, cells), '#'), cells, text);
  }
  return text.substr(0, width);
}

Progress::Progress(When when) : style_(Style::none), begin_(Clock::now()), last_(begin_) {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  if (when != When::never && terminal) style_ = Style::bar;
  if (when == When::always && !terminal) style_ = Style::lines;
}

std::optional<Progress::Clock::time_point> Progress::next() const {
  if (style_ == Style::none) return {};
  return last_ + (style_ == Style::bar ? std::chrono::milliseconds(100) : std::chrono::seconds(10));
}

void Progress::show(const Count& count) {
  const auto now = Clock::now();
  const auto at = next();
  if (!at || now < *at) return;
  last_ = now;
  if (style_ == Style::lines) {
    put(fmt::format("yoke map: {}\n", progress_text(count, now - begin_, std::string::npos)));
    return;
  }
  put("\r" + progress_text(count, now - begin_, terminal_width() - 1) + "\x1b[K");
  visible_ = true;
}

void Progress::wipe() {
  if (visible_) put("\r\x1b[K");
  visible_ = false;
}

}  // namespace yoke::tools
