// Whether a task that was lost with its worker, or its host, may be tried again.
#pragma once

#include <cstdint>

namespace yoke::pool {

/// `attempts`: times that a worker has started it; `retries`: that its caller allowed beyond the first.
constexpr bool may_try_again(std::uint32_t attempts, int retries) noexcept {
  return static_cast<std::int64_t>(attempts) <= retries;
}

}  // namespace yoke::pool
