// Fuzzer: what an agent, or a client, may be sent: bytes in portions, and the heads of frames as every note that there
// is.
//
// Run by hand: build/tests/fuzz/fuzz_frames -max_total_time=600 NEW_INPUTS_FOLDER tests/fuzz/corpus/frames
#include "lib/protocol/stream.hpp"
#include "lib/wire/frame.hpp"
#include "tests/fuzz/input.hpp"
#include "yoke/call.hpp"

namespace {

using namespace yoke::protocol;

/// Nothing but an exception may come of it.
template <class Note>
void unpack(std::span<const std::byte> head) {
  try {
    static_cast<void>(unpack_note<Note>(head));
  } catch (const std::exception&) {
  }
}

void unpack_items(std::span<const std::byte> head) {
  try {
    const yoke::Message message(head);
    for (const yoke::Object& item : yoke::detail::unpack_array(message.object())) {
      static_cast<void>(yoke::unpack_value<TaskNote>(item));
      static_cast<void>(yoke::unpack_value<ResultNote>(item));
    }
  } catch (const std::exception&) {
  }
}

void take(const Frame& frame) {
  switch (frame.type) {
    case FrameType::hello: return unpack<Hello>(frame.head);
    case FrameType::module: return unpack<ModuleNote>(frame.head);
    case FrameType::function: return unpack<FunctionNote>(frame.head);
    case FrameType::cancel: return unpack<CancelNote>(frame.head);
    case FrameType::stop: return unpack<StopNote>(frame.head);
    case FrameType::welcome: return unpack<Welcome>(frame.head);
    case FrameType::started: return unpack<StartedNote>(frame.head);
    case FrameType::cancelled: return unpack<CancelledNote>(frame.head);
    case FrameType::output: return unpack<OutputNote>(frame.head);
    case FrameType::state: return unpack<StateNote>(frame.head);
    default: return unpack_items(frame.head);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  yoke_fuzz::Input input(data, size);
  FrameReader reader(is_frame_type, input.below(2) == 0 ? "" : "\nyoke-agent 0\n");
  try {
    while (!input.empty()) {
      const auto room = reader.room();
      const auto portion = input.bytes(std::min<std::size_t>(1 + input.take<std::uint8_t>(), room.size()));
      std::copy(portion.begin(), portion.end(), room.begin());
      reader.filled(portion.size());
      Frame frame;
      while (reader.next(frame)) take(frame);
    }
  } catch (const ProtocolError&) {
  }
  return 0;
}
