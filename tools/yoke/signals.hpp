// SIGINT and SIGTERM as something to wait for: blocked while the object lives, and read from a descriptor.
//
// Made in main's thread before any other thread, so that all of them inherit the mask. Also a signal that was ignored
// comes: a shell's background jobs ignore SIGINT, and whoever sends one by hand means it. SIGPIPE is ignored meanwhile.
#pragma once

#include <signal.h>

#include <optional>

#include "lib/system/unique_fd.hpp"

namespace yoke::tools {

class Signals {
 public:
  Signals();
  ~Signals() { restore(); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable when a signal has come.
  int descriptor() const noexcept { return fd_.get(); }
  std::optional<int> take();
  /// As it was before: a second Ctrl-C ends the program at once.
  void restore();

 private:
  system::UniqueFd fd_;
  sigset_t mask_before_{};
  struct sigaction pipe_before_{};
  bool active_ = true;
};

}  // namespace yoke::tools
