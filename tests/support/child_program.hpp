// A small program that a test runs as a child: its stdout by lines, its end, and its signals.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace yoke_test {

/// Where meson puts the children of tests.
std::string child_path(const std::string& name);

class ChildProgram {
 public:
  /// Starts it, as the leader of a process group of its own. `environment`: "NAME=value", added to this process's.
  explicit ChildProgram(const std::string& path, std::vector<std::string> arguments = {},
                        const std::vector<std::string>& environment = {});
  ~ChildProgram();  // kills it if it still runs
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  pid_t pid() const noexcept { return pid_; }
  /// The next line of its stdout, without the end of line; throws std::runtime_error at its end, or after a minute.
  std::string read_line();
  /// Closes its stdin.
  void close_input();
  /// What it wrote up to its end.
  std::string read_all();
  /// Waits for its end: the status of waitpid. Throws std::runtime_error after a minute.
  int wait();

 private:
  pid_t pid_ = 0;
  int output_ = -1;
  int input_ = -1;
  std::string read_;
};

}  // namespace yoke_test
