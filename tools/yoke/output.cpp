// poll and write.
#include "output.hpp"

#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace yoke::tools {
namespace {

bool is_regular_file(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

Output::Output(int descriptor) : descriptor_(descriptor), is_file_(is_regular_file(descriptor)) {}

bool Output::has_room() const {
  pollfd look{descriptor_, POLLOUT, 0};
  return ::poll(&look, 1, 0) == 1;
}

void Output::write_some() {
  while (pending() > 0 && (is_file_ || has_room())) {
    // The descriptor stays in blocking mode, since others share it; a pipe that has room takes PIPE_BUF bytes at once.
    const std::size_t size = is_file_ ? pending() : std::min<std::size_t>(pending(), PIPE_BUF);
    const ssize_t written = ::write(descriptor_, buffer_.data() + written_, size);
    if (written > 0) written_ += static_cast<std::size_t>(written);
    if (written >= 0 || errno == EINTR || errno == EAGAIN) continue;
    if (errno == EPIPE || errno == EBADF || errno == ECONNRESET) throw OutputClosed();
    throw std::system_error(errno, std::generic_category(), "cannot write the results to the standard output");
  }
  if (pending() > 0 && written_ < buffer_.size() / 2) return;
  buffer_.erase(0, written_);
  written_ = 0;
}

}  // namespace yoke::tools
