#include "lib/system/poller.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>

namespace yoke::system {

std::error_code Poller::wait(Clock::time_point deadline) noexcept {
  constexpr std::int64_t longest_ms = 60'000;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  const auto timeout = static_cast<int>(std::clamp<std::int64_t>(left, 0, longest_ms));
  if (::poll(looks_.data(), looks_.size(), timeout) >= 0 || errno == EINTR) return {};
  return {errno, std::system_category()};
}

}  // namespace yoke::system
