// A command as a test runs it: with its own stdin, stdout and stderr, each at hand while it runs.
//
// What a test has not waited for is killed with the object. One thread.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/system/unique_fd.hpp"

namespace yoke_test {

struct Ended {
  int status = 0;  // exit status, or 128 + signal as a shell has it
  std::string out;
  std::string err;
};

class Command {
 public:
  explicit Command(std::vector<std::string> arguments);
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Before start.
  void close_stdout() { stdout_closed_ = true; }
  void stderr_is(int descriptor) { stderr_ = descriptor; }

  void start();
  pid_t pid() const noexcept { return pid_; }
  void write_input(const std::string& text);
  void close_input() { input_.reset(); }
  void close_output() { output_.reset(); }
  /// The next line of its stdout, without the newline; empty at the end.
  std::optional<std::string> read_line();
  /// What it still writes, until it has ended.
  Ended wait();

 private:
  std::vector<std::string> arguments_;
  bool stdout_closed_ = false;
  int stderr_ = -1;
  pid_t pid_ = 0;
  yoke::system::UniqueFd input_, output_, errors_;
  std::string buffer_;  // of stdout, read and not yet asked for
};

/// Runs it to its end with this on stdin.
Ended run(std::vector<std::string> arguments, const std::string& input = {});

std::vector<std::string> lines_of(const std::string& text);

}  // namespace yoke_test
