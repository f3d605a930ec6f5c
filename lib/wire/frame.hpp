// Frames: how two processes cut their byte stream into messages.
//
// A frame is a header of 16 bytes (little-endian: type, three zero bytes, length of the head as u32, length of the
// payload as u64), a head, which is msgpack, and a payload of raw bytes, often none. Before the first frame may stand
// a marker; what came before that, login banners and the like, is passed over.
//
// A reader trusts nothing: lengths are checked, and memory is taken as the bytes come, at most twice of what has come.
// A payload that there is no memory for is passed over, and costs its own frame alone. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/wire/large_buffer.hpp"
#include "lib/wire/protocol_error.hpp"
#include "yoke/bytes.hpp"

namespace yoke::wire {

/// What a frame is. Its numbers are those of the protocol that is spoken (protocol/stream.hpp).
enum class FrameType : std::uint8_t;
/// Whether the protocol has frames of that type.
using IsFrameType = bool (*)(FrameType);

struct Frame {
  FrameType type;
  std::span<const std::byte> head;  // until the reader's next call
  Bytes payload;
  std::string trouble{};  // why the payload is not there, which was passed over; empty: it is
};

inline constexpr std::size_t frame_header_size = 16;
inline constexpr std::size_t most_head_bytes = std::size_t{16} << 20;
inline constexpr std::size_t most_payload_bytes = std::size_t{8} << 30;

class FrameReader {
 public:
  /// Empty marker: the stream begins with a frame.
  explicit FrameReader(IsFrameType is_known, std::string marker = {}, std::size_t most_payload = most_payload_bytes);

  /// Where the next bytes of the stream go; never empty. Then tell how many came.
  std::span<std::byte> room();
  void filled(std::size_t bytes);
  /// The next whole frame; false if more bytes are needed. Throws ProtocolError, std::bad_alloc.
  bool next(Frame& frame);

  bool marker_seen() const noexcept { return marker_.empty(); }
  /// Whether these words came before it, at the end of what has come.
  bool has_seen(std::string_view words) const;
  /// The end of what came before the marker.
  const std::string& banner() const noexcept { return banner_; }

 private:
  bool find_marker();
  bool read_header();
  void make_payload_room();
  bool fills_payload() const noexcept { return payload_ && payload_trouble_.empty() && begin_ == end_; }
  std::size_t buffered() const noexcept { return end_ - begin_; }

  static constexpr std::size_t most_banner_bytes = std::size_t{1} << 20;
  static constexpr std::size_t payload_at_once = std::size_t{1} << 20;  // memory taken before bytes have come for it

  IsFrameType is_known_;
  std::string marker_;
  std::size_t most_payload_;
  std::string banner_;
  std::size_t banner_bytes_ = 0;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;  // of what is not yet taken
  std::size_t end_ = 0;
  bool in_frame_ = false;  // the header has been read
  FrameType type_{};
  std::size_t head_size_ = 0;
  std::size_t payload_size_ = 0;
  std::size_t payload_read_ = 0;
  std::shared_ptr<LargeBuffer> payload_;  // while it is read
  std::string payload_trouble_;  // why it is passed over
  std::vector<std::byte> head_;  // of a frame with a payload
  bool head_read_ = false;
};

/// What waits to be written. Large payloads are not copied.
class FrameQueue {
 public:
  /// Throws SerializationError for what no reader would take.
  void push(FrameType type, std::span<const std::byte> head);
  void push(FrameType type, std::span<const std::byte> head, Bytes payload);
  void push(FrameType type, std::span<const std::byte> head, std::span<const std::byte> rest_of_head);
  void push_text(std::string_view text);
  void push_bytes(Bytes bytes);

  /// Writes as much as the descriptor takes without waiting. Throws std::system_error. Never raises SIGPIPE.
  void write_some(int descriptor);
  bool empty() const noexcept { return bytes_ == 0; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Piece {
    std::vector<std::byte> text;  // or
    Bytes payload;
    std::span<const std::byte> view() const { return text.empty() ? payload.view() : std::span<const std::byte>(text); }
  };
  std::vector<std::byte>& tail();
  void push_header(FrameType type, std::size_t head, std::size_t payload);

  std::deque<Piece> pieces_;
  std::size_t written_ = 0;  // of the first piece
  std::size_t bytes_ = 0;
};

}  // namespace yoke::wire
