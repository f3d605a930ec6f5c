// Stream: how notes travel between a client and an agent that stays: as the heads of frames, over one stream.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "lib/protocol/notes.hpp"
#include "lib/wire/frame.hpp"
#include "yoke/codec.hpp"
#include "yoke/pack_buffer.hpp"

namespace yoke::wire {

enum class FrameType : std::uint8_t {
  // the client's
  hello = 1,  // how the agent is to work: the first frame
  module = 2,  // a module that functions lie in
  function = 3,  // a function that tasks will name by its number
  tasks = 4,
  large_task = 5,  // one; its arguments are the payload
  cancel = 6,
  resize = 7,
  stop = 8,
  keep_block = 9,  // constant memory that tasks will name by its number: the payload
  drop_block = 10,
  output_taken = 11,
  // the agent's
  welcome = 65,  // what the agent is: its first frame
  results = 66,
  large_result = 67,  // one; its value is the payload
  started = 68,
  cancelled = 69,
  output = 70,
  state = 71,
  farewell = 72,  // its last, after it was stopped
  // of both
  heartbeat = 129
};

}  // namespace yoke::wire

namespace yoke::protocol {

using wire::Frame;
using wire::FrameQueue;
using wire::FrameReader;
using wire::FrameType;

bool is_frame_type(FrameType type);

/// In the agent's environment until it begins: the token of its marker.
inline constexpr char agent_variable[] = "YOKE_AGENT";
/// What the agent writes before its first frame.
std::string marker_of(const std::string& token);

/// Bytes of its workers' output that an agent sends before it must hear that they were taken.
inline constexpr std::size_t output_window = 256 * 1024;

/// How long a side hears nothing before it takes the other for lost, so that a cut of `lease` loses nothing: what was
/// sent during a cut TCP sends again at times that double, so up to as long after its end as it lasted. The client
/// waits longer: when it gives a task to another host, the agent that had it has killed its workers.
std::chrono::milliseconds silence_of_agent(std::chrono::milliseconds lease, std::chrono::milliseconds heartbeat);
std::chrono::milliseconds silence_of_client(std::chrono::milliseconds lease, std::chrono::milliseconds heartbeat);

template <class T>
void push_note(FrameQueue& queue, FrameType type, const T& note, Bytes payload = {}) {
  PackBuffer head;
  Packer packer(head, Packer::Arrays::elements);
  pack_value(packer, note);
  queue.push(type, head.view(), std::move(payload));
}

/// Notes that travel together in one frame, as an array.
class Batch {
 public:
  template <class T>
  void add(const T& note) {
    Packer packer(items_, Packer::Arrays::elements);
    pack_value(packer, note);
    ++count_;
  }
  bool empty() const noexcept { return count_ == 0; }
  std::size_t bytes() const noexcept { return items_.size(); }
  /// As a frame; the batch is empty afterwards.
  void push_to(FrameQueue& queue, FrameType type);
  void clear() noexcept;

 private:
  PackBuffer items_;
  std::uint32_t count_ = 0;
};
inline constexpr std::size_t most_batch_bytes = 32 * 1024;
inline constexpr std::size_t large_bytes = 64 * 1024;  // arguments and results from here on travel as payloads

}  // namespace yoke::protocol
