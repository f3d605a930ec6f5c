// CapturedCommand: a command whose output is wanted, such as salloc. Of one thread; nothing here waits.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/system/piped_process.hpp"
#include "lib/system/poller.hpp"

namespace yoke::system {

class CapturedCommand {
 public:
  /// Throws std::system_error. Its stdin stays open until close_input().
  CapturedCommand(std::vector<std::string> command, int death_signal, const std::vector<std::string>& unset = {});

  void add_to(Poller& poller) const;
  /// Reads what there is, without waiting; the status once the command has ended and its output is read.
  std::optional<ExitStatus> proceed();
  const std::string& output() const noexcept { return output_; }
  const std::string& errors() const noexcept { return errors_; }
  void close_input() noexcept { process_.close_to(); }
  const std::vector<std::string>& command() const noexcept { return command_; }
  void signal(int signal) noexcept { process_.signal(signal); }

 private:
  static bool read_some(int descriptor, std::string& to);

  std::vector<std::string> command_;
  PipedProcess process_;
  std::string output_, errors_;
  std::optional<ExitStatus> status_;
};

}  // namespace yoke::system
