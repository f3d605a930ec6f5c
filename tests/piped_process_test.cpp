// What a thread sleeps on, and processes that are spoken with.
#include "lib/system/piped_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "lib/system/captured_command.hpp"
#include "lib/system/event_fd.hpp"
#include "lib/system/pipe.hpp"
#include "lib/system/poller.hpp"

namespace yoke::system {
namespace {

const auto never = Clock::time_point::max();

bool closes_on_exec(const UniqueFd& fd) { return (::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0; }

TEST(Pipe, is_closed_on_exec_and_blocks_until_told_otherwise) {
  const Pipe pipe = make_pipe();
  EXPECT_TRUE(closes_on_exec(pipe.read_end) && closes_on_exec(pipe.write_end));
  EXPECT_EQ(::fcntl(pipe.read_end.get(), F_GETFL) & O_NONBLOCK, 0);
  set_nonblocking(pipe.read_end);
  char byte = 0;
  EXPECT_EQ(::read(pipe.read_end.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(::fcntl(pipe.write_end.get(), F_GETFL) & O_NONBLOCK, 0) << "the other end is another";
}

TEST(Poller, says_which_descriptors_are_ready) {
  const Pipe quiet = make_pipe(), written = make_pipe();
  EXPECT_EQ(::write(written.write_end.get(), "x", 1), 1);
  Poller poller;
  const auto nothing = poller.add_reader(-1);
  const auto of_quiet = poller.add_reader(quiet.read_end.get());
  const auto of_written = poller.add_reader(written.read_end.get());
  const auto writer = poller.add_writer(quiet.write_end.get());
  EXPECT_FALSE(poller.is_ready(of_written)) << "before the wait";
  EXPECT_FALSE(poller.wait(never));
  EXPECT_TRUE(poller.is_ready(of_written));
  EXPECT_TRUE(poller.is_ready(writer));
  EXPECT_FALSE(poller.is_ready(of_quiet));
  EXPECT_FALSE(poller.is_ready(nothing));
  EXPECT_FALSE(poller.is_ready(Poller::none));
}

TEST(Poller, a_deadline_that_has_passed_waits_for_nothing) {
  const Pipe quiet = make_pipe();
  Poller poller;
  const auto of_quiet = poller.add_reader(quiet.read_end.get());
  EXPECT_FALSE(poller.wait(Clock::time_point{}));
  EXPECT_FALSE(poller.is_ready(of_quiet));
}

TEST(EventFd, stays_readable_from_a_signal_to_a_clear) {
  EXPECT_FALSE(EventFd());
  const EventFd event = EventFd::make();
  const auto readable = [&] {
    Poller poller;
    const auto ticket = poller.add_reader(event.get());
    EXPECT_FALSE(poller.wait(Clock::time_point{}));
    return poller.is_ready(ticket);
  };
  EXPECT_FALSE(readable());
  event.signal();
  event.signal();
  EXPECT_TRUE(readable());
  event.clear();
  EXPECT_FALSE(readable());
  event.clear();
  EXPECT_FALSE(readable()) << "and a clear does not wait";
}

/// What there is until the end of the stream.
std::string read_all(int descriptor) {
  std::string all;
  std::array<char, 256> bytes;
  for (;;) {
    Poller poller;
    poller.add_reader(descriptor);
    EXPECT_FALSE(poller.wait(never));
    const ssize_t size = ::read(descriptor, bytes.data(), bytes.size());
    if (size == 0) return all;
    if (size > 0) all.append(bytes.data(), static_cast<std::size_t>(size));
  }
}

TEST(PipedProcess, its_streams_are_pipes) {
  PipedProcess process({"sh", "-c", "cat; echo words >&2; exit 3"}, SIGKILL);
  EXPECT_EQ(::write(process.to(), "hello", 5), 5);
  process.close_to();
  EXPECT_EQ(read_all(process.from()), "hello");
  EXPECT_EQ(read_all(process.errors()), "words\n");
  process.reap(never);
  const auto status = process.try_reap();
  ASSERT_TRUE(status);
  EXPECT_EQ(describe(*status), "exit code 3");
}

TEST(PipedProcess, one_that_is_destroyed_is_killed) {
  int still_open = -1;
  {
    PipedProcess process({"cat"}, SIGKILL);
    still_open = ::fcntl(process.from(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  }
  EXPECT_EQ(read_all(still_open), "") << "nobody writes any more";
  ::close(still_open);
}

TEST(PipedProcess, what_is_no_program_is_an_error) {
  EXPECT_THROW(PipedProcess({}, SIGKILL), std::system_error);
  EXPECT_THROW(PipedProcess({"no-such-program-anywhere"}, SIGKILL), std::system_error);
}

TEST(CapturedCommand, keeps_what_it_printed_and_how_it_ended) {
  CapturedCommand command({"sh", "-c", "read line; echo \"$line\"; echo words >&2; kill -TERM $$"}, SIGKILL);
  EXPECT_FALSE(command.proceed()) << "it waits for its input";
  command.close_input();
  std::optional<ExitStatus> status;
  while (!(status = command.proceed())) {
    Poller poller;
    command.add_to(poller);
    EXPECT_FALSE(poller.wait(Clock::now() + std::chrono::milliseconds(5)));
  }
  EXPECT_EQ(command.output(), "\n");
  EXPECT_EQ(command.errors(), "words\n");
  EXPECT_EQ(describe(*status), "SIGTERM");
}

TEST(CapturedCommand, one_that_prints_without_end_holds_nobody_up) {
  CapturedCommand command({"cat", "/dev/zero"}, SIGKILL);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(command.proceed());
  EXPECT_LE(command.output().size(), (1U << 20) + 4096);
}

}  // namespace
}  // namespace yoke::system
