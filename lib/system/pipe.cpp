#include "lib/system/pipe.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

namespace yoke::system {

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category(), "pipe");
  Pipe pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  pipe.read_end = above_stdio(std::move(pipe.read_end));
  pipe.write_end = above_stdio(std::move(pipe.write_end));
  return pipe;
}

void set_nonblocking(const UniqueFd& fd) noexcept {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

}  // namespace yoke::system
