#include "lib/channel/received_buffer.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "yoke/error.hpp"

namespace yoke::channel {
namespace {

// Of the usual 1024 descriptors, and 65530 mappings, that a process may have; of fewer descriptors a sixteenth.
int most_descriptors() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 64;
  return static_cast<int>(std::min<rlim_t>(64, limit.rlim_cur / 16));
}
constexpr int most_mappings = 16'384;
std::atomic<int> descriptors{0};
std::atomic<int> mappings{0};

}  // namespace

Share Share::of(std::atomic<int>& taken, int most) noexcept {
  Share share;
  if (taken.fetch_add(1, std::memory_order_relaxed) < most)
    share.taken_ = &taken;
  else
    --taken;
  return share;
}

ReceivedBuffer::ReceivedBuffer(system::UniqueFd descriptor, std::size_t size)
    : share_(Share::of(descriptors, most_descriptors())), descriptor_(std::move(descriptor)), size_(size) {
  if (!share_ && !map()) static_cast<void>(view());
}

/// In place of the descriptor. False if it cannot be: a worker could shrink the memory, or there are enough mappings.
bool ReceivedBuffer::map() {
  const int seals = ::fcntl(descriptor_.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || !system::has_usual_pages(descriptor_.get())) return false;
  Share share = Share::of(mappings, most_mappings);
  if (!share) return false;
  try {
    mapping_ = system::Mapping(descriptor_.get(), size_, system::Access::read_only);
  } catch (const std::system_error&) {
    return false;
  }
  share_ = std::move(share);
  descriptor_.reset();
  return true;
}

void ReceivedBuffer::fetch(system::WarmBytes& into) const {
  if (mapping_) {
    std::memcpy(into.data(), mapping_.data(), size_);
    mapping_ = {};
    return;
  }
  for (std::size_t done = 0; done < size_;) {
    const ssize_t n = ::pread(descriptor_.get(), into.data() + done, size_ - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw SerializationError(fmt::format("a result of {} bytes ends after {} bytes", size_, done));
    done += static_cast<std::size_t>(n);
  }
  descriptor_.reset();
}

std::span<const std::byte> ReceivedBuffer::view() const {
  std::call_once(fetched_, [this] {
    if (!mapping_ && !descriptor_.is_own())
      throw SerializationError(
          fmt::format("a result of {} bytes cannot be read: the program has closed its descriptor", size_));
    system::WarmBytes content(size_);
    fetch(content);
    content_ = std::move(content);
    share_ = {};
  });
  return {content_.data(), size_};
}

}  // namespace yoke::channel
