#include "lib/protocol/stream.hpp"

#include <fmt/format.h>

namespace yoke::protocol {

bool is_frame_type(FrameType type) {
  return (type >= FrameType::hello && type <= FrameType::output_taken) ||
         (type >= FrameType::welcome && type <= FrameType::farewell) || type == FrameType::heartbeat;
}

std::string marker_of(const std::string& token) { return fmt::format("\nyoke-agent {}\n", token); }

std::chrono::milliseconds silence_of_agent(std::chrono::milliseconds lease, std::chrono::milliseconds heartbeat) {
  constexpr std::chrono::milliseconds first_resend{1'000};  // a generous one: it is the round trip and some
  return 2 * lease + heartbeat + first_resend;
}

std::chrono::milliseconds silence_of_client(std::chrono::milliseconds lease, std::chrono::milliseconds heartbeat) {
  return silence_of_agent(lease, heartbeat) + 2 * heartbeat;  // the agent may have heard the last heartbeat one later
}

void Batch::push_to(FrameQueue& queue, FrameType type) {
  if (count_ == 0) return;
  PackBuffer prefix;
  Packer(prefix).pack_array(count_);
  queue.push(type, prefix.view(), items_.view());
  clear();
}

void Batch::clear() noexcept {
  items_.truncate(0);
  count_ = 0;
}

}  // namespace yoke::protocol
