// LifeNotices: by which workers see that their pool's watchdog, and so their parent, has ended. Held by the watchdog's
// thread for as long as it lives.
//
// Threads: make() by whoever starts the watchdog, hold(), renew() and retract() by the watchdog, fd() by it too;
// wake_all() and close() under the pool's lock.
#pragma once

#include <vector>

#include "lib/system/memfd.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::local {

class LifeNotices {
 public:
  /// Throws std::system_error.
  void make();
  void hold();
  /// Where the program has closed the descriptor behind our back: others, for the workers to come.
  void renew();
  int fd() const noexcept { return fd_.get(); }
  /// So that lifelines look whether their worker is to end.
  void wake_all() const noexcept;
  void retract() noexcept;
  void close() noexcept;

 private:
  system::UniqueFd fd_;  // what workers are given; read-only
  system::Mapping page_;
  std::size_t held_ = 0;  // of the page
  std::vector<system::Mapping> later_;  // see renew
};

}  // namespace yoke::local
