// Lines out of a buffer that is filled by read().
#include "inputs.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "usage.hpp"

namespace yoke::tools {
namespace {

constexpr std::size_t step = 1 << 16;
constexpr std::size_t longest_line = 1 << 30;

}  // namespace

Inputs::Inputs(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}

Inputs Inputs::of_stdin() {
  Inputs inputs;
  inputs.descriptor_ = STDIN_FILENO;
  inputs.at_end_ = false;
  return inputs;
}

std::optional<InputText> Inputs::next() {
  if (descriptor_ < 0) {
    if (given_ == arguments_.size()) return {};
    const std::uint64_t index = given_++;
    return InputText{std::move(arguments_[index]), given_};
  }
  const std::size_t newline = buffer_.find('\n', searched_);
  if (newline == std::string::npos) {
    searched_ = buffer_.size();
    if (!at_end_ || begin_ == buffer_.size()) return {};
  }
  const std::size_t end = std::min(newline, buffer_.size());
  InputText input{buffer_.substr(begin_, end - begin_), ++given_};
  begin_ = searched_ = std::min(end + 1, buffer_.size());
  return input;
}

bool Inputs::exhausted() const noexcept {
  return descriptor_ < 0 ? given_ == arguments_.size() : at_end_ && begin_ == buffer_.size();
}

void Inputs::read_more() {
  if (at_end_) return;
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  if (buffer_.size() > longest_line)
    throw UsageError(fmt::format("line {} of the standard input is longer than 1 GB; is it text?", given_ + 1));
  const std::size_t size = buffer_.size();
  buffer_.resize(size + step);
  const ssize_t got = ::read(descriptor_, buffer_.data() + size, step);
  const int error = errno;
  buffer_.resize(size + static_cast<std::size_t>(got > 0 ? got : 0));
  if (got == 0) at_end_ = true;
  if (got < 0 && error != EINTR && error != EAGAIN)
    throw std::system_error(error, std::generic_category(), "cannot read the inputs from the standard input");
}

std::optional<std::uint64_t> Inputs::total() const {
  if (descriptor_ < 0) return arguments_.size();
  return exhausted() ? std::optional(given_) : std::nullopt;
}

std::string Inputs::place(std::uint64_t number) const {
  return fmt::format("{} {}", descriptor_ < 0 ? "argument" : "line", number);
}

}  // namespace yoke::tools
