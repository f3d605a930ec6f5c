#include "lib/system/captured_command.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

namespace yoke::system {

CapturedCommand::CapturedCommand(std::vector<std::string> command, int death_signal,
                                 const std::vector<std::string>& unset)
    : command_(std::move(command)), process_(command_, death_signal, unset) {}

void CapturedCommand::add_to(Poller& poller) const {
  poller.add_reader(process_.from());
  poller.add_reader(process_.errors());
}

/// True at the end of the stream. Of one that does not end, some at a time: the caller has others to look after.
bool CapturedCommand::read_some(int descriptor, std::string& to) {
  if (descriptor < 0) return true;
  constexpr std::size_t most_kept = 1 << 20;
  std::array<char, 4096> bytes;
  for (std::size_t all = 0; all < most_kept;) {
    const ssize_t size = ::read(descriptor, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return errno != EAGAIN;
    if (size == 0) return true;
    all += static_cast<std::size_t>(size);
    if (to.size() < most_kept) to.append(bytes.data(), static_cast<std::size_t>(size));
  }
  return false;
}

std::optional<ExitStatus> CapturedCommand::proceed() {
  if (read_some(process_.from(), output_)) process_.close_from();
  if (read_some(process_.errors(), errors_)) process_.close_errors();
  if (!status_) status_ = process_.try_reap();
  // What it has started may hold its streams open: its own end is enough.
  return status_;
}

}  // namespace yoke::system
