// EventFd: what wakes a thread that sleeps in poll().
//
// Any thread signals, the sleeper clears. Signals before a clear are one.
#pragma once

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

#include "lib/system/unique_fd.hpp"

namespace yoke::system {

class EventFd {
 public:
  /// Holds nothing.
  EventFd() = default;
  /// Throws std::system_error.
  static EventFd make() {
    EventFd event;
    event.fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event.fd_) throw std::system_error(errno, std::system_category(), "eventfd");
    event.fd_ = above_stdio(std::move(event.fd_));
    return event;
  }

  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  /// Readable while it is signalled.
  int get() const noexcept { return fd_.get(); }
  void signal() const noexcept { ::eventfd_write(fd_.get(), 1); }
  void clear() const noexcept {
    eventfd_t count = 0;
    ::eventfd_read(fd_.get(), &count);
  }

 private:
  UniqueFd fd_;
};

}  // namespace yoke::system
