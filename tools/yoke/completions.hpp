// Which chunks are done, told by the library's callback thread to the thread that polls.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "lib/system/unique_fd.hpp"

namespace yoke::tools {

class Completions {
 public:
  Completions();
  /// Any thread.
  void add(std::uint64_t id);
  /// All that have come since the last call, in their order.
  std::vector<std::uint64_t> take();
  /// Readable when there is something to take.
  int descriptor() const noexcept { return event_.get(); }

 private:
  std::mutex mutex_;
  std::vector<std::uint64_t> ids_;
  system::UniqueFd event_;
};

}  // namespace yoke::tools
