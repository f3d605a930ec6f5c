// open() takes the lowest number that is free, and the numbers are looked at from the lowest.
#include "standard_streams.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace yoke::tools {

void occupy_standard_streams() {
  struct {
    int descriptor, flags;
  } constexpr streams[] = {{STDIN_FILENO, O_WRONLY}, {STDOUT_FILENO, O_RDONLY}, {STDERR_FILENO, O_RDWR}};
  for (const auto& stream : streams)
    if (::fcntl(stream.descriptor, F_GETFD) < 0) ::open("/dev/null", stream.flags);
}

}  // namespace yoke::tools
