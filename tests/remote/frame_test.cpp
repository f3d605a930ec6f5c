// Frames: cut anywhere, preceded by anything, claiming what cannot be.
#include "lib/remote/frame.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "lib/remote/agent_command.hpp"
#include "lib/remote/protocol.hpp"
#include "tests/support/sanitized.hpp"

namespace yoke::remote {
namespace {

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
    FrameReader reader;
    EXPECT_EQ(read_all(reader, stream, portion), expected) << "in portions of " << portion;
  }
}

TEST(Frames, what_comes_before_the_marker_is_passed_over_and_kept) {
  const std::string marker = marker_of("12ab");
  FrameQueue queue;
  queue.push_text("Welcome!\nyoke-agent 12" + marker.substr(0, 5));
  queue.push_text(marker);
  queue.push(FrameType::heartbeat, {});
  const std::string stream = written(queue);
  for (const std::size_t portion : {std::size_t{1}, std::size_t{3}, stream.size()}) {
    FrameReader reader(marker);
    EXPECT_EQ(read_all(reader, stream, portion), std::vector<std::string>{"129::"});
    EXPECT_TRUE(reader.banner().starts_with("Welcome!")) << reader.banner();
  }
}

TEST(Frames, without_a_marker_a_stream_is_given_up) {
  FrameReader reader(marker_of("12ab"));
  EXPECT_THROW(read_all(reader, std::string(std::size_t{2} << 20, 'b'), 4096), ProtocolError);
}

TEST(Frames, what_is_no_frame_is_refused) {
  const std::string printed = "hello, this is a task's output";
  for (const std::string& stream : {printed, header(0, 0, 0), header(77, 0, 0), header(4, UINT32_MAX, 0),
                                    header(5, 0, UINT64_MAX), header(5, 0, most_payload_bytes + 1)}) {
    FrameReader reader;
    EXPECT_THROW(read_all(reader, stream, stream.size()), ProtocolError);
  }
}

TEST(Frames, a_claim_alone_takes_bounded_memory) {
  FrameReader reader;
  EXPECT_TRUE(read_all(reader, header(5, 0, most_payload_bytes), frame_header_size).empty());
  EXPECT_LE(reader.room().size(), std::size_t{1} << 20);
}

TEST(Frames, U8_memory_is_taken_as_bytes_come) {
  const std::string part(100'000, 'x');
  for (const std::string& claim : {header(5, 0, most_payload_bytes), header(4, most_head_bytes, 0)}) {
    FrameReader reader;
    EXPECT_TRUE(read_all(reader, claim + part, 1000).empty());
    EXPECT_LE(reader.room().size(), std::size_t{1} << 20);
  }
  FrameReader limited({}, 1000);
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
    FrameReader reader;
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

TEST(Frames, settings_cross_unchanged) {
  ExecutorOptions options;
  options.max_workers = 3;
  options.env = {{"A", "b"}};
  options.limits.address_space = 1 << 30;
  options.kill_grace = std::chrono::milliseconds(5);
  options.on_crash = CrashPolicy::break_pool;
  Hello hello;
  hello.settings = settings_of(options);
  hello.initializer = InitialCall{7, {1, 2, 3}};
  FrameQueue queue;
  push_note(queue, FrameType::hello, hello);
  const std::string stream = written(queue);
  const auto read = unpack_note<Hello>(bytes_of(std::string_view(stream).substr(frame_header_size)));
  const ExecutorOptions found = options_of(read.settings);
  EXPECT_EQ(found.max_workers, options.max_workers);
  EXPECT_EQ(found.env, options.env);
  EXPECT_EQ(found.limits, options.limits);
  EXPECT_EQ(found.kill_grace, options.kill_grace);
  EXPECT_EQ(found.on_crash, options.on_crash);
  EXPECT_EQ(read.initializer->arguments, hello.initializer->arguments);
}

TEST(Launchers, arguments_are_quoted_for_a_shell_where_they_need_it) {
  EXPECT_EQ(quote(std::string_view("/usr/bin/a-b_c")), "/usr/bin/a-b_c");
  EXPECT_EQ(quote(std::string_view("it's $HOME")), "'it'\\''s $HOME'");
  EXPECT_EQ(quote(std::string_view("")), "''");
}

TEST(Launchers, placeholders_are_filled_in) {
  const std::vector<std::string> agent{"env", "A=1", "/a b"};
  EXPECT_EQ(fill_in({"run", "--on={host}", "{agent}"}, "n1", agent),
            (std::vector<std::string>{"run", "--on=n1", "env", "A=1", "/a b"}));
  EXPECT_EQ(fill_in({"ssh", "{host}", "exec {agent_command}"}, "n1", agent),
            (std::vector<std::string>{"ssh", "n1", "exec env A=1 '/a b'"}));
  EXPECT_THROW(fill_in({"ssh", "{host}"}, "n1", agent), std::invalid_argument);
}

TEST(Launchers, a_program_that_was_replaced_is_at_its_path) {
  EXPECT_EQ(path_of_program("/opt/app/far"), "/opt/app/far");
  EXPECT_EQ(path_of_program("/opt/app/far (deleted)"), "/opt/app/far");
  const auto folder = std::filesystem::temp_directory_path() / ("yoke-program-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const std::string odd = folder / "odd (deleted)";  // by its own name
  std::ofstream(odd).put('x');
  EXPECT_EQ(path_of_program(odd), odd);
  std::filesystem::remove_all(folder);
}

TEST(Launchers, places_of_the_command_line) {
  RemoteOptions options;
  add_hosts(options, "ssh:a,b");
  add_hosts(options, "local");
  add_hosts(options, "command:podman run -i 'my image' {agent}");
  add_hosts(options, "slurm:nodes=3,partition=debug,time=10");
  ASSERT_EQ(options.hosts.size(), 4U);
  EXPECT_EQ(options.hosts[1].name, "b");
  EXPECT_EQ(options.hosts[3].launcher, (Launcher{"podman", "run", "-i", "my image", "{agent}"}));
  EXPECT_EQ(options.slurm->nodes, 3);
  EXPECT_EQ(options.slurm->partition, "debug");
  EXPECT_EQ(options.slurm->arguments, std::vector<std::string>{"--time=10"});
  for (const char* wrong :
       {"", "ssh:", "ssh:a,,b", "nowhere:x", "local:x", "command:", "command:'open", "slurm:nodes=0",
        "slurm:"
        "nodes=many"})
    EXPECT_THROW(add_hosts(options, wrong), std::invalid_argument) << wrong;
}

TEST(Launchers, options_that_make_no_sense_are_refused) {
  const auto refused = [](const RemoteOptions& options) {
    try {
      RemotePool pool(options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refused({}), "");
  EXPECT_NE(refused({.hosts = {{""}}}), "");
  EXPECT_NE(refused({.hosts = {{"-oProxyCommand=x"}}}), "");
  EXPECT_NE(refused({.hosts = {{"a", {"ssh", "{host}"}}}}), "");
  EXPECT_NE(refused({.hosts = {{"a", launchers::local(), 0}}}), "");
  EXPECT_NE(refused({.hosts = {{"a"}}, .heartbeat = std::chrono::milliseconds(0)}), "");
  EXPECT_NE(refused({.hosts = {{"a"}}, .lease = std::chrono::milliseconds(1000)}), "");
  EXPECT_EQ(refused({.hosts = {{"a"}}}), "");
}

}  // namespace
}  // namespace yoke::remote
