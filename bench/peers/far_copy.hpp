// FarCopy: this very program on another machine, at the other end of a command such as `ssh -T host` or `sh -c`, that
// sends every frame back, or swallows bytes: the least that calls through that command can take.
//
// One thread. Blocks. Throws std::runtime_error when the other end is gone.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace yoke::bench {

/// What the program does instead of measuring, if its first argument says so; returns otherwise.
void act_as_far_copy(int argc, char** argv);

class FarCopy {
 public:
  /// Returns when the other end has said its first word.
  explicit FarCopy(std::vector<std::string> command);
  ~FarCopy();
  FarCopy(const FarCopy&) = delete;
  FarCopy& operator=(const FarCopy&) = delete;

  /// A frame of a length and so many bytes, there and back.
  void round_trip(std::span<std::byte> content);
  /// Returns when the other end has read them all.
  void send(std::span<const std::byte> content);

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

/// Runs it, with nothing to read and nobody who hears it, until it ends. Returns seconds.
double seconds_of_command(const std::vector<std::string>& command);

}  // namespace yoke::bench
