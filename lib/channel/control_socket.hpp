// The control socket between a parent and one worker: what is too rare or too special for the rings: descriptors of
// large messages, and the modules that function references speak of. Each message is sent before the slot that needs it.
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
  shared = 3,  // that a result speaks of
  ready = 4    // the worker's first: its start is over, and no task has run in it
};

struct ControlHead {
  ControlKind kind;
  std::uint32_t length;  // of the body
  std::uint64_t number;  // of the module, of an argument's memory, or the position of the result
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

/// The next message into `message`; false if there is none, or what came is none.
bool receive_control(int socket, ControlMessage& message) noexcept;

}  // namespace yoke::channel
