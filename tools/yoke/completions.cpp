// A list and an eventfd, which is written to only when the list was empty.
#include "completions.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace yoke::tools {

Completions::Completions() : event_(system::above_stdio(system::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)))) {
  if (!event_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Completions::add(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  ids_.push_back(id);
  if (ids_.size() > 1) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);  // the counter cannot be full
}

std::vector<std::uint64_t> Completions::take() {
  const std::lock_guard lock(mutex_);
  if (ids_.empty()) return {};
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof count);
  return std::exchange(ids_, {});
}

}  // namespace yoke::tools
