// WorkerLines: what an agent's workers print, cut into lines. A pipe for each rank and stream; a worker that takes a
// dead one's place writes into the same. No more is read than the client takes (output_window): a worker whose pipe is
// full waits.
//
// descriptors_of: on the thread that starts workers; all else on the agent's own.
#pragma once

#include <poll.h>

#include <array>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "lib/remote/protocol.hpp"
#include "lib/system/unique_fd.hpp"

namespace yoke::remote {

class WorkerLines {
 public:
  /// For a worker's stdout and stderr. Writes to the event `changed` if there are new pipes to poll. Throws
  /// std::system_error.
  std::array<int, 2> descriptors_of(int rank, int changed);
  void add_to(std::vector<pollfd>& looks);
  /// Of what add_to added: whole lines go to the queue.
  void read(std::span<const pollfd> looks, FrameQueue& queue);
  /// The client has taken so many bytes.
  void taken(std::size_t bytes);
  /// When there are no workers any more: what they have left in their pipes, and nothing that comes later, as from a
  /// process that a task has left behind.
  void finish(FrameQueue& queue);

 private:
  struct Pipe {
    system::UniqueFd read_end, write_end;
    int rank = 0;
    bool is_stderr = false;
    std::string begun;  // a line without its end yet
  };
  bool read(Pipe& pipe, FrameQueue& queue);
  void send(const Pipe& pipe, std::string text, FrameQueue& queue);

  std::mutex mutex_;
  std::vector<Pipe> pipes_;
  std::size_t first_ = 0;  // the pipe that is read first, in turn
  std::size_t on_the_way_ = 0;  // bytes, sent and not yet taken
};

}  // namespace yoke::remote
