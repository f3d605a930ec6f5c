// Errand: a command whose output is wanted, such as salloc.
#pragma once

#include <poll.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/remote/carrier.hpp"

namespace yoke::remote {

class Errand {
 public:
  /// Throws std::system_error. Its stdin stays open until close_input().
  Errand(std::vector<std::string> command, int death_signal, const std::vector<std::string>& unset = {});

  void add_to(std::vector<pollfd>& looks) const;
  /// Reads what there is, without waiting; the status once the command has ended and its output is read.
  std::optional<system::ExitStatus> proceed();
  const std::string& output() const noexcept { return output_; }
  const std::string& errors() const noexcept { return errors_; }
  void close_input() noexcept { carrier_.close_to(); }
  std::string command() const;
  void signal(int signal) noexcept { carrier_.signal(signal); }

 private:
  static bool read_all(int descriptor, std::string& to);

  std::vector<std::string> command_;
  Carrier carrier_;
  std::string output_, errors_;
  std::optional<system::ExitStatus> status_;
};

}  // namespace yoke::remote
