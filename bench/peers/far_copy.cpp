#include "bench/peers/far_copy.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "bench/measure.hpp"
#include "bench/peers/pipes.hpp"

namespace yoke::bench {
namespace {

constexpr const char* far_argument = "--answer-frames";

struct Head {
  std::uint64_t length;
  std::uint64_t comes_back;  // or is only acknowledged
};

/// In one write, which blocks until all is gone.
bool write_frame(int fd, std::span<const std::byte> content, bool comes_back) {
  Head head{content.size(), comes_back ? 1U : 0U};
  const iovec parts[] = {{&head, sizeof head}, {const_cast<std::byte*>(content.data()), content.size()}};
  return ::writev(fd, parts, 2) == static_cast<ssize_t>(sizeof head + content.size());
}

[[noreturn]] void answer() {
  std::vector<std::byte> room(1 << 20);
  const std::byte word{1};
  bool well = write_all(STDOUT_FILENO, {&word, 1});
  Head head{};
  while (well && read_all(STDIN_FILENO, std::as_writable_bytes(std::span(&head, 1)))) {
    if (head.comes_back != 0) {
      const auto content = std::span(room).first(std::min<std::size_t>(room.size(), head.length));
      well = read_all(STDIN_FILENO, content) && write_frame(STDOUT_FILENO, content, true);
      continue;
    }
    for (std::uint64_t left = head.length; well && left != 0;) {
      const auto part = std::span(room).first(std::min<std::uint64_t>(room.size(), left));
      well = read_all(STDIN_FILENO, part);
      left -= part.size();
    }
    well = well && write_all(STDOUT_FILENO, {&word, 1});
  }
  ::_exit(0);
}

pid_t spawn(const std::vector<std::string>& command, int in, int out) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::system_category(), "starting " + command.front());
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string own_path() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) throw std::runtime_error("this program's path cannot be read");
  return {path.data(), static_cast<std::size_t>(size)};
}

}  // namespace

void act_as_far_copy(int argc, char** argv) {
  if (argc == 2 && argv[1] == std::string_view(far_argument)) answer();
}

FarCopy::FarCopy(std::vector<std::string> command) {
  command.push_back(own_path() + " " + far_argument);  // one word, as ssh and `sh -c` take it
  int there[2], back[2];
  if (::pipe2(there, O_CLOEXEC) != 0 || ::pipe2(back, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::system_category(), "pipe2");
  pid_ = spawn(command, there[0], back[1]);
  ::close(there[0]);
  ::close(back[1]);
  to_ = there[1];
  from_ = back[0];
  std::byte word{};
  if (!read_all(from_, {&word, 1})) throw std::runtime_error("nothing came from this program on the other machine");
}

FarCopy::~FarCopy() {
  ::close(to_);
  ::close(from_);
  wait_for(pid_);
}

void FarCopy::round_trip(std::span<std::byte> content) {
  Head head{};
  if (!write_frame(to_, content, true) || !read_all(from_, std::as_writable_bytes(std::span(&head, 1))) ||
      !read_all(from_, content))
    throw std::runtime_error("the program on the other machine is gone");
}

void FarCopy::send(std::span<const std::byte> content) {
  const Head head{content.size(), 0};
  std::byte word{};
  if (!write_all(to_, std::as_bytes(std::span(&head, 1))) || !write_all(to_, content) || !read_all(from_, {&word, 1}))
    throw std::runtime_error("the program on the other machine is gone");
}

double seconds_of_command(const std::vector<std::string>& command) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const Stopwatch watch;
  const int status = wait_for(spawn(command, null, null));
  const double seconds = watch.seconds();
  ::close(null);
  if (status != 0) throw std::runtime_error("this failed: " + command.front() + " ... " + command.back());
  return seconds;
}

}  // namespace yoke::bench
