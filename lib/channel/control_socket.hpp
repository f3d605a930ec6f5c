// The control socket between a parent and one worker: what is too rare or too special for the rings: descriptors of
// large messages and shared memory, and the modules that function references speak of. Each message is sent before the
// slot that needs it. What a worker is given the parent takes back by a message too: so it knows what the worker has.
//
// A Unix socket pair (SEQPACKET, close-on-exec). It is also the lifeline: it ends when the other side is gone. Sending
// and receiving never block.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "lib/system/unique_fd.hpp"

namespace yoke::channel {

enum class ControlKind : std::uint32_t {
  module = 1,
  memory = 2,  // of a large message
  shared = 3,  // that a message speaks of
  drop_memory = 4,  // of arguments: the worker's mapping goes
  drop_shared = 5,
  ready = 6  // the worker's first: its start is over, and no task has run in it
};

struct ControlHead {
  ControlKind kind;
  std::uint32_t length;  // of the body
  std::uint64_t
      number;  // of the module, of an argument's memory, of shared memory its inode; or the position of the result
};

inline constexpr std::size_t max_control_body = 4400;  // a path and an identity

struct ControlMessage {
  ControlHead head{};
  std::size_t body_length = 0;
  std::byte body[max_control_body];
  system::UniqueFd descriptor;
};

/// Throws std::system_error.
std::pair<system::UniqueFd, system::UniqueFd> make_control_pair();

/// Returns false if the other side is gone or takes no more.
bool send_control(int socket, ControlKind kind, std::uint64_t number, std::span<const std::byte> body,
                  int descriptor = -1) noexcept;

/// Sends, and counts what was sent, modulo 2^16: by that number the other side knows how much to read.
class ControlSender {
 public:
  explicit ControlSender(system::UniqueFd socket) : socket_(std::move(socket)) {}
  int socket() const noexcept { return socket_.get(); }
  bool is_own() const noexcept { return socket_.is_own(); }
  std::uint16_t count() const noexcept { return count_; }
  bool send(ControlKind kind, std::uint64_t number, std::span<const std::byte> body = {},
            int descriptor = -1) noexcept {
    if (!send_control(socket_.get(), kind, number, body, descriptor)) return false;
    ++count_;
    return true;
  }

 private:
  system::UniqueFd socket_;
  std::uint16_t count_ = 0;
};

enum class Receipt {
  nothing,  // there is none
  message,
  without_descriptor,  // a message whose descriptor was lost: this process, or the system, has none left
  malformed  // what came is none
};
/// The next message into `message`.
Receipt receive_control(int socket, ControlMessage& message) noexcept;

}  // namespace yoke::channel
