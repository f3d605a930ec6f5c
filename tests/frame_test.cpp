// Frames: cut anywhere, preceded by anything, claiming what cannot be.
#include "lib/wire/frame.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include "lib/protocol/stream.hpp"
#include "tests/support/sanitized.hpp"

namespace yoke::wire {
namespace {

using protocol::is_frame_type;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// All that a queue writes.
std::string written(FrameQueue& queue) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
  std::string all;
  std::array<char, 65536> buffer;
  while (!queue.empty()) {
    queue.write_some(ends[1]);
    for (ssize_t size; (size = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
      all.append(buffer.data(), static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  ::close(ends[1]);
  return all;
}

/// A frame with a payload of so many bytes, and a small one.
void push_text_with(FrameQueue& queue, std::size_t bytes) {
  queue.push(FrameType::large_task, bytes_of("large"), Bytes(bytes_of(std::string(bytes, 'x'))));
  queue.push(FrameType::large_task, bytes_of("next"), Bytes(bytes_of("small")));
}

/// Feeds a reader in portions of that many bytes; what it gives, as "type:head:payload" each.
std::vector<std::string> read_all(FrameReader& reader, std::string_view stream, std::size_t portion) {
  std::vector<std::string> frames;
  while (!stream.empty()) {
    const auto room = reader.room();
    EXPECT_FALSE(room.empty());
    const std::size_t size = std::min({portion, stream.size(), room.size()});
    std::memcpy(room.data(), stream.data(), size);
    reader.filled(size);
    stream.remove_prefix(size);
    Frame frame;
    while (reader.next(frame))
      frames.push_back(std::to_string(static_cast<int>(frame.type)) + ":" + text_of(frame.head) + ":" +
                       text_of(frame.payload.view()) + frame.trouble);
  }
  return frames;
}

std::string header(std::uint8_t type, std::uint32_t head, std::uint64_t payload) {
  std::string text(frame_header_size, '\0');
  text[0] = static_cast<char>(type);
  for (unsigned i = 0; i < 4; ++i) text[4 + i] = static_cast<char>(head >> (8 * i));
  for (unsigned i = 0; i < 8; ++i) text[8 + i] = static_cast<char>(payload >> (8 * i));
  return text;
}

TEST(Frames, cut_anywhere_they_come_out_whole) {
  const std::string large(100'000, 'x');
  FrameQueue queue;
  queue.push(FrameType::tasks, bytes_of("head"));
  queue.push(FrameType::heartbeat, {});
  queue.push(FrameType::large_task, bytes_of("of a payload"), Bytes(bytes_of(large)));
  queue.push(FrameType::results, bytes_of("two "), bytes_of("parts"));
  const std::string stream = written(queue);
  const std::vector<std::string> expected{"4:head:", "129::", "5:of a payload:" + large, "66:two parts:"};
  for (const std::size_t portion :
       {std::size_t{1}, std::size_t{7}, std::size_t{16}, std::size_t{1000}, stream.size()}) {
    FrameReader reader(is_frame_type);
    EXPECT_EQ(read_all(reader, stream, portion), expected) << "in portions of " << portion;
  }
}

TEST(Frames, what_comes_before_the_marker_is_passed_over_and_kept) {
  const std::string marker = protocol::marker_of("12ab");
  FrameQueue queue;
  queue.push_text("Welcome!\nyoke-agent 12" + marker.substr(0, 5));
  queue.push_text(marker);
  queue.push(FrameType::heartbeat, {});
  const std::string stream = written(queue);
  for (const std::size_t portion : {std::size_t{1}, std::size_t{3}, stream.size()}) {
    FrameReader reader(is_frame_type, marker);
    EXPECT_EQ(read_all(reader, stream, portion), std::vector<std::string>{"129::"});
    EXPECT_TRUE(reader.banner().starts_with("Welcome!")) << reader.banner();
  }
}

TEST(Frames, without_a_marker_a_stream_is_given_up) {
  FrameReader reader(is_frame_type, protocol::marker_of("12ab"));
  EXPECT_THROW(read_all(reader, std::string(std::size_t{2} << 20, 'b'), 4096), ProtocolError);
}

TEST(Frames, what_is_no_frame_is_refused) {
  const std::string printed = "hello, this is a task's output";
  for (const std::string& stream : {printed, header(0, 0, 0), header(77, 0, 0), header(4, UINT32_MAX, 0),
                                    header(5, 0, UINT64_MAX), header(5, 0, most_payload_bytes + 1)}) {
    FrameReader reader(is_frame_type);
    EXPECT_THROW(read_all(reader, stream, stream.size()), ProtocolError);
  }
}

TEST(Frames, a_claim_alone_takes_bounded_memory) {
  FrameReader reader(is_frame_type);
  EXPECT_TRUE(read_all(reader, header(5, 0, most_payload_bytes), frame_header_size).empty());
  EXPECT_LE(reader.room().size(), std::size_t{1} << 20);
}

TEST(Frames, U8_memory_is_taken_as_bytes_come) {
  const std::string part(100'000, 'x');
  for (const std::string& claim : {header(5, 0, most_payload_bytes), header(4, most_head_bytes, 0)}) {
    FrameReader reader(is_frame_type);
    EXPECT_TRUE(read_all(reader, claim + part, 1000).empty());
    EXPECT_LE(reader.room().size(), std::size_t{1} << 20);
  }
  FrameReader limited(is_frame_type, {}, 1000);
  EXPECT_THROW(read_all(limited, header(67, 0, 1001), frame_header_size), ProtocolError);
}

TEST(Frames, a_payload_without_memory_costs_its_own_frame) {
  if (yoke_test::sanitized) GTEST_SKIP() << "a sanitizer itself needs address space";
  constexpr std::size_t size = 64'000'000;
  constexpr std::size_t room = 16'000'000;
  FrameQueue queue;
  push_text_with(queue, size);
  const std::string stream = written(queue);
  for (const std::size_t portion : {70'000U, 1'000'000U}) {
    rlimit former{};
    ASSERT_EQ(::getrlimit(RLIMIT_AS, &former), 0);
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit little{pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + room, former.rlim_max};
    FrameReader reader(is_frame_type);
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
    const auto first = read_all(reader, stream, portion);
    ASSERT_EQ(::setrlimit(RLIMIT_AS, &former), 0);
    ASSERT_EQ(first.size(), 2U) << portion;
    EXPECT_NE(first[0].find("there is no memory for its 64000000 bytes"), std::string::npos) << first[0];
    EXPECT_EQ(first[1], "5:next:small");
    EXPECT_EQ(read_all(reader, stream, portion)[0], "5:large:" + std::string(size, 'x')) << "with memory again";
  }
}

TEST(Frames, a_reader_that_has_gone_is_an_error_and_no_signal) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
  ::close(ends[0]);
  FrameQueue queue;
  queue.push(FrameType::heartbeat, {});
  EXPECT_THROW(queue.write_some(ends[1]), std::system_error);
  ::close(ends[1]);
}

}  // namespace
}  // namespace yoke::wire
