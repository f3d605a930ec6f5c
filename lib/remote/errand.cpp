#include "lib/remote/errand.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "lib/remote/agent_command.hpp"

namespace yoke::remote {

Errand::Errand(std::vector<std::string> command, int death_signal, const std::vector<std::string>& unset)
    : command_(std::move(command)), carrier_(command_, death_signal, unset) {}

void Errand::add_to(std::vector<pollfd>& looks) const {
  looks.push_back({carrier_.from(), POLLIN, 0});
  looks.push_back({carrier_.errors(), POLLIN, 0});
}

/// True at the end of the stream.
bool Errand::read_all(int descriptor, std::string& to) {
  if (descriptor < 0) return true;
  constexpr std::size_t most_kept = 1 << 20;
  std::array<char, 4096> bytes;
  for (;;) {
    const ssize_t size = ::read(descriptor, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno != EAGAIN;
    if (size == 0) return true;
    if (to.size() < most_kept) to.append(bytes.data(), static_cast<std::size_t>(size));
  }
}

std::optional<system::ExitStatus> Errand::proceed() {
  if (read_all(carrier_.from(), output_)) carrier_.close_from();
  if (read_all(carrier_.errors(), errors_)) carrier_.close_errors();
  if (!status_) status_ = carrier_.try_reap();
  // What it has started may hold its streams open: its own end is enough.
  return status_;
}

std::string Errand::command() const { return quote(command_); }

}  // namespace yoke::remote
