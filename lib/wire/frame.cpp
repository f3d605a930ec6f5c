#include "lib/wire/frame.hpp"

#include <fmt/format.h>
#include <limits.h>
#include <signal.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

namespace yoke::wire {
namespace {

constexpr std::size_t read_room = 256 * 1024;
constexpr std::size_t piece_size = 256 * 1024;
constexpr std::size_t banner_kept = 4096;

template <class T>
T load(const std::byte* at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<T>(at[i]) << (8 * i));
  return value;
}

template <class T>
void store(std::byte* at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

/// Holds SIGPIPE back from the calling thread, which may be the program's own.
class NoSigpipe {
 public:
  NoSigpipe() noexcept {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    if (raised_) {
      const timespec now{};
      while (sigtimedwait(&pipe_, nullptr, &now) == -1 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  void raised() noexcept { raised_ = true; }

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool raised_ = false;
};

}  // namespace

FrameReader::FrameReader(IsFrameType is_known, std::string marker, std::size_t most_payload)
    : is_known_(is_known), marker_(std::move(marker)), most_payload_(std::min(most_payload, most_payload_bytes)) {}

std::span<std::byte> FrameReader::room() {
  if (fills_payload()) make_payload_room();
  if (fills_payload())
    return {payload_->data() + payload_read_, std::min(payload_->capacity(), payload_size_) - payload_read_};
  if (begin_ == end_) begin_ = end_ = 0;
  const std::size_t wanted = in_frame_ && !head_read_ && head_size_ > buffered() ? head_size_ - buffered() : 1;
  // No more than has come already: a head may claim what never comes.
  const std::size_t needed = std::max(std::min(wanted, buffered()), read_room / 2);
  if (buffer_.size() - end_ < needed) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < needed) buffer_.resize(std::max(read_room, end_ + needed));
  }
  return std::span(buffer_).subspan(end_);
}

void FrameReader::filled(std::size_t bytes) {
  if (fills_payload())
    payload_read_ += bytes;
  else
    end_ += bytes;
}

/// Memory for a payload is taken as its bytes come.
void FrameReader::make_payload_room() {
  if (!payload_trouble_.empty() || payload_read_ < payload_->capacity()) return;
  const std::size_t wanted = std::max(payload_at_once, 2 * payload_->capacity());
  try {
    payload_->reserve(std::min(payload_size_, wanted), payload_read_);
  } catch (const std::exception& error) {
    payload_trouble_ = fmt::format("there is no memory for its {} bytes: {}", payload_size_, error.what());
    payload_ = std::make_shared<LargeBuffer>();
  }
}

bool FrameReader::find_marker() {
  const std::string_view seen(reinterpret_cast<const char*>(buffer_.data()) + begin_, buffered());
  const std::size_t at = seen.find(marker_);
  // The marker may be cut in two: its length less one stays.
  const std::size_t passed = at != std::string_view::npos   ? at
                             : seen.size() < marker_.size() ? 0
                                                            : seen.size() - (marker_.size() - 1);
  banner_.append(seen.substr(0, passed));
  if (banner_.size() > banner_kept) banner_.erase(0, banner_.size() - banner_kept);
  banner_bytes_ += passed;
  begin_ += passed;
  if (at != std::string_view::npos) {
    begin_ += marker_.size();
    marker_.clear();
    return true;
  }
  if (banner_bytes_ > most_banner_bytes)
    throw ProtocolError(fmt::format("{} bytes came and no word of an agent among them", banner_bytes_));
  return false;
}

bool FrameReader::has_seen(std::string_view words) const {
  const std::string_view rest(reinterpret_cast<const char*>(buffer_.data()) + begin_, buffered());
  return (banner_ + std::string(rest)).find(words) != std::string::npos;
}

bool FrameReader::read_header() {
  if (buffered() < frame_header_size) return false;
  const std::byte* at = buffer_.data() + begin_;
  const auto type = static_cast<FrameType>(at[0]);
  const auto head = load<std::uint32_t>(at + 4);
  const auto payload = load<std::uint64_t>(at + 8);
  if (!is_known_(type) || at[1] != std::byte{0} || at[2] != std::byte{0} || at[3] != std::byte{0})
    throw ProtocolError("what came is no frame: something else writes to the agent's stream, or it is no agent");
  if (head > most_head_bytes || payload > most_payload_)
    throw ProtocolError(fmt::format("a frame claims a head of {} and a payload of {} bytes; allowed are {} and {}",
                                    head, payload, most_head_bytes, most_payload_));
  begin_ += frame_header_size;
  in_frame_ = true;
  head_read_ = false;
  type_ = type;
  head_size_ = head;
  payload_size_ = static_cast<std::size_t>(payload);
  payload_read_ = 0;
  return true;
}

bool FrameReader::next(Frame& frame) {
  if (!marker_.empty() && !find_marker()) return false;
  if (!in_frame_ && !read_header()) return false;
  if (!head_read_) {
    if (buffered() < head_size_) return false;
    const std::span<const std::byte> head(buffer_.data() + begin_, head_size_);
    begin_ += head_size_;
    head_read_ = true;
    if (payload_size_ == 0) {
      in_frame_ = false;
      frame = {type_, head, {}};
      return true;
    }
    head_.assign(head.begin(), head.end());
    payload_ = std::make_shared<LargeBuffer>();
    make_payload_room();
  }
  while (begin_ != end_ && payload_read_ < payload_size_) {
    make_payload_room();
    std::size_t size = std::min(buffered(), payload_size_ - payload_read_);
    if (payload_trouble_.empty()) {
      size = std::min(size, payload_->capacity() - payload_read_);
      std::memcpy(payload_->data() + payload_read_, buffer_.data() + begin_, size);
    }
    payload_read_ += size;
    begin_ += size;
  }
  if (payload_read_ < payload_size_) return false;
  in_frame_ = false;
  if (payload_trouble_.empty()) {
    payload_->set_size(payload_size_);
    frame = {type_, head_, Bytes(std::shared_ptr<const Buffer>(std::move(payload_)))};
  } else {
    frame = {type_, head_, {}, std::exchange(payload_trouble_, {})};
  }
  payload_.reset();
  return true;
}

std::vector<std::byte>& FrameQueue::tail() {
  if (pieces_.empty() || pieces_.back().text.empty() || pieces_.back().text.size() >= piece_size) {
    pieces_.emplace_back();
    pieces_.back().text.reserve(4096);
  }
  return pieces_.back().text;
}

void FrameQueue::push_header(FrameType type, std::size_t head, std::size_t payload) {
  if (head > most_head_bytes || payload > most_payload_bytes)
    throw SerializationError(
        fmt::format("a message of {} bytes is too large to be sent to another machine", std::max(head, payload)));
  std::array<std::byte, frame_header_size> header{};
  header[0] = static_cast<std::byte>(type);
  store(header.data() + 4, static_cast<std::uint32_t>(head));
  store(header.data() + 8, static_cast<std::uint64_t>(payload));
  std::vector<std::byte>& text = tail();
  text.insert(text.end(), header.begin(), header.end());
  bytes_ += header.size() + head + payload;
}

void FrameQueue::push(FrameType type, std::span<const std::byte> head) {
  push(type, head, std::span<const std::byte>());
}

void FrameQueue::push(FrameType type, std::span<const std::byte> head, std::span<const std::byte> rest_of_head) {
  push_header(type, head.size() + rest_of_head.size(), 0);
  std::vector<std::byte>& text = pieces_.back().text;
  text.insert(text.end(), head.begin(), head.end());
  text.insert(text.end(), rest_of_head.begin(), rest_of_head.end());
}

void FrameQueue::push(FrameType type, std::span<const std::byte> head, Bytes payload) {
  push_header(type, head.size(), payload.size());
  std::vector<std::byte>& text = pieces_.back().text;
  text.insert(text.end(), head.begin(), head.end());
  bytes_ -= payload.size();
  push_bytes(std::move(payload));
}

void FrameQueue::push_text(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  std::vector<std::byte>& end = tail();
  end.insert(end.end(), bytes.begin(), bytes.end());
  bytes_ += bytes.size();
}

void FrameQueue::push_bytes(Bytes bytes) {
  if (bytes.size() == 0) return;
  bytes_ += bytes.size();
  pieces_.push_back({{}, std::move(bytes)});
}

void FrameQueue::write_some(int descriptor) {
  NoSigpipe no_sigpipe;
  while (!pieces_.empty()) {
    std::array<iovec, 16> parts{};
    std::size_t count = 0;
    for (auto piece = pieces_.begin(); piece != pieces_.end() && count < parts.size(); ++piece) {
      const auto view = piece->view().subspan(count == 0 ? written_ : 0);
      parts[count++] = {const_cast<std::byte*>(view.data()), view.size()};
    }
    const ssize_t written = ::writev(descriptor, parts.data(), static_cast<int>(count));
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno == EPIPE) no_sigpipe.raised();
      throw std::system_error(errno, std::system_category(), "writing to the stream");
    }
    bytes_ -= static_cast<std::size_t>(written);
    written_ += static_cast<std::size_t>(written);
    while (!pieces_.empty() && written_ >= pieces_.front().view().size()) {
      written_ -= pieces_.front().view().size();
      pieces_.pop_front();
    }
  }
  written_ = 0;
}

}  // namespace yoke::wire
