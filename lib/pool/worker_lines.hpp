// WorkerLines: what a pool's workers print, cut into lines. A pipe for each rank and stream; a worker that takes a dead
// one's place writes into the same. No more is read than is taken: where a whole window of bytes was told and not yet
// taken, a worker whose pipe is full waits.
//
// descriptors_of: on the thread that starts workers; all else on the one that polls.
#pragma once

#include <poll.h>

#include <array>
#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "lib/system/unique_fd.hpp"

namespace yoke::pool {

class WorkerLines {
 public:
  /// Whole lines, or the rest of one.
  using Tell = std::function<void(int rank, bool is_stderr, std::string text)>;

  explicit WorkerLines(std::size_t window) : window_(window) {}

  /// For a worker's stdout and stderr. Writes to the event `changed` if there are new pipes to poll. Throws
  /// std::system_error.
  std::array<int, 2> descriptors_of(int rank, int changed);
  void add_to(std::vector<pollfd>& looks);
  /// Of what add_to added: tells whole lines.
  void read(std::span<const pollfd> looks, const Tell& tell);
  /// So many bytes of what was told are taken.
  void taken(std::size_t bytes);
  /// When there are no workers any more: what they have left in their pipes, and nothing that comes later, as from a
  /// process that a task has left behind.
  void finish(const Tell& tell);

 private:
  struct Pipe {
    system::UniqueFd read_end, write_end;
    int rank = 0;
    bool is_stderr = false;
    std::string begun;  // a line without its end yet
  };
  bool read(Pipe& pipe, const Tell& tell);
  void send(const Pipe& pipe, std::string text, const Tell& tell);

  const std::size_t window_;
  std::mutex mutex_;  // guards all below
  std::vector<Pipe> pipes_;
  std::size_t first_ = 0;  // the pipe that is read first, in turn
  std::size_t on_the_way_ = 0;  // bytes, told and not yet taken
};

}  // namespace yoke::pool
