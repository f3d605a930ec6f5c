// GivenMemory: the parent's books of the memory that one worker has: pieces for its long arguments, and the shared
// memory that its tasks speak of.
//
// A piece is a memfd that this worker alone ever gets: a worker can keep what it once had mapped, and would see what is
// written there later. So arguments are copied into a piece once it is known who gets them, and pieces are used again,
// while they are warm, for the same worker. The worker keeps all that it is given until it is told to drop it; it is
// told so only of what none of its tasks needs. So what it holds is bounded, and needs no descriptor of this process
// but those of the arrays themselves.
//
// A position that is below `tail` is of a task that is over. One thread at a time (the pool's lock).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lib/channel/control_socket.hpp"
#include "lib/system/memfd.hpp"
#include "lib/wire/large_buffer.hpp"
#include "lib/wire/shared_memory.hpp"

namespace yoke::channel {

class GivenMemory {
 public:
  static constexpr std::size_t most_pieces = 32;
  static constexpr std::size_t most_shared = 256;  // that are kept for tasks to come
  static constexpr std::size_t most_shared_by_task =
      128;  // a control message each, and there is not room for many more

  /// `socket`: where control messages to the worker go.
  explicit GivenMemory(ControlSender& socket) : socket_(socket) {}

  enum class Gave { yes, all_in_use, not_taken };  // not_taken: the worker takes no control message, see errno
  /// Copies the arguments of the task at `position` into a piece that the worker has, and says which. Throws
  /// std::system_error.
  Gave put(std::span<const std::byte> content, std::uint64_t position, std::uint64_t tail, std::uint64_t& number);
  /// The worker has what the task speaks of, or is sent it before the task. Throws SerializationError if it is too
  /// much.
  Gave share(std::span<const detail::HeldMemory> held, std::uint64_t position, std::uint64_t tail);

  /// Something that was sent did not reach the worker: nothing that it has is relied upon.
  void doubt() noexcept;
  /// There is, or will be with time, something to take back.
  bool needs_trim() const noexcept;
  /// Takes back what no task has used for `age`, and the value of a Broadcast when its last handle is gone. True if it
  /// told the worker so.
  bool trim(std::chrono::steady_clock::duration age, std::uint64_t tail) noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  struct Piece {
    std::uint64_t number;
    system::Mapping mapping;
    std::uint64_t position;  // of the last task that it was for
    Clock::time_point used;
    bool doubtful = false;
  };
  struct Shared {
    std::uint64_t inode;  // nobody else's while the worker has it
    std::weak_ptr<SharedMemory> memory;
    bool constant;
    std::uint64_t position;
    Clock::time_point used;
    bool doubtful = false;
  };

  Piece* free_piece(std::size_t size, std::uint64_t tail) noexcept;
  bool make_room(std::size_t size, std::uint64_t tail) noexcept;
  bool drop(std::vector<Piece>::iterator piece) noexcept;
  bool make_room_for_shared(std::uint64_t tail) noexcept;

  ControlSender& socket_;
  std::vector<Piece> pieces_;
  std::vector<Shared> shared_;
  std::uint64_t last_number_ = 0;
};

}  // namespace yoke::channel
