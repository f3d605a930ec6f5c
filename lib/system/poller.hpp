// Poller: one sleep on many descriptors. Made anew for each sleep; of one thread.
#pragma once

#include <poll.h>

#include <cstddef>
#include <system_error>
#include <vector>

#include "yoke/clock.hpp"

namespace yoke::system {

class Poller {
 public:
  using Ticket = std::size_t;
  static constexpr Ticket none = static_cast<Ticket>(-1);  // is never ready

  Ticket add_reader(int descriptor) { return add(descriptor, POLLIN); }
  Ticket add_writer(int descriptor) { return add(descriptor, POLLOUT); }

  /// Returns when a descriptor is ready, or has failed, when the deadline has come, or sooner: after a signal, and
  /// after a minute. An error: nothing is ready.
  std::error_code wait(Clock::time_point deadline) noexcept;
  /// As the wait left it.
  bool is_ready(Ticket ticket) const noexcept { return ticket < looks_.size() && looks_[ticket].revents != 0; }

 private:
  Ticket add(int descriptor, short events) {
    looks_.push_back({descriptor, events, 0});
    return looks_.size() - 1;
  }

  std::vector<pollfd> looks_;
};

}  // namespace yoke::system
