// PipedProcess: a child process that is spoken with, such as the ssh that carries an agent's stream.
//
// Its stdin, stdout and stderr are pipes of this process, none of which blocks. Destroying it kills the process.
// The thread that starts it must live as long as it does. One thread at a time, but for the descriptors.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "lib/system/process_handle.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::system {

class PipedProcess {
 public:
  /// Throws std::system_error: there is no such program, or it cannot be started. `death_signal`: when this thread
  /// ends. `unset`: variables of the environment that it does not get.
  PipedProcess(const std::vector<std::string>& command, int death_signal, const std::vector<std::string>& unset = {});
  PipedProcess(const PipedProcess&) = delete;
  PipedProcess& operator=(const PipedProcess&) = delete;
  ~PipedProcess();

  int to() const noexcept { return to_.get(); }
  int from() const noexcept { return from_.get(); }
  int errors() const noexcept { return errors_.get(); }
  void close_to() noexcept { to_.reset(); }
  void close_from() noexcept { from_.reset(); }
  void close_errors() noexcept { errors_.reset(); }
  void kill() noexcept;
  void signal(int signal) noexcept { process_.signal(signal); }
  /// Once the process has ended: how.
  std::optional<ExitStatus> try_reap() { return process_.try_reap(); }
  /// Waits for the end of a process that was killed, and is thus soon dead.
  void reap(std::chrono::steady_clock::time_point deadline) { process_.wait_exit(deadline); }

 private:
  ProcessHandle process_;
  UniqueFd to_, from_, errors_;
};

}  // namespace yoke::system
