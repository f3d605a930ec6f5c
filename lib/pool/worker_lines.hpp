// WorkerLines: what a pool's workers print, cut into lines. A pipe for each rank and stream; a worker that takes a dead
// one's place writes into the same. No more is read than is taken: where a whole window of bytes was told and not yet
// taken, a worker whose pipe is full waits.
//
// descriptors_of: on the thread that starts workers; all else on the one that polls.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "lib/system/poller.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::pool {

class WorkerLines {
 public:
  /// Whole lines, or the rest of one.
  using Tell = std::function<void(int rank, bool is_stderr, std::string text)>;

  /// `changed` is called when there are new pipes to poll, on the thread that starts workers.
  WorkerLines(std::size_t window, std::function<void()> changed) : window_(window), changed_(std::move(changed)) {}

  /// For a worker's stdout and stderr. Throws std::system_error.
  std::array<int, 2> descriptors_of(int rank);
  /// What read() reads.
  void add_to(system::Poller& poller);
  /// After the poller's wait: tells whole lines.
  void read(const system::Poller& poller, const Tell& tell);
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
    system::Poller::Ticket ticket = system::Poller::none;
  };
  bool read(Pipe& pipe, const Tell& tell);
  void send(const Pipe& pipe, std::string text, const Tell& tell);

  const std::size_t window_;
  const std::function<void()> changed_;
  std::mutex mutex_;  // guards all below
  std::vector<Pipe> pipes_;
  std::size_t first_ = 0;  // the pipe that is read first, in turn
  std::size_t on_the_way_ = 0;  // bytes, told and not yet taken
};

}  // namespace yoke::pool
