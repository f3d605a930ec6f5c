// posix_spawn with pipes.
#include "tests/support/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <sstream>
#include <system_error>

namespace yoke_test {
namespace {

using yoke::system::UniqueFd;

struct Pipe {
  UniqueFd read_end, write_end;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
  }
};

/// Appends what there is; false at the end.
bool read_some(const UniqueFd& fd, std::string& text) {
  std::array<char, 4096> part{};
  const ssize_t got = ::read(fd.get(), part.data(), part.size());
  if (got > 0) text.append(part.data(), static_cast<std::size_t>(got));
  return got > 0;
}

}  // namespace

Command::Command(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}

Command::~Command() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Command::start() {
  Pipe in, out, err;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.read_end.get(), STDIN_FILENO);
  if (stdout_closed_)
    ::posix_spawn_file_actions_addclose(&actions, STDOUT_FILENO);
  else
    ::posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, stderr_ < 0 ? err.write_end.get() : stderr_, STDERR_FILENO);
  posix_spawnattr_t attributes;  // as a shell starts it, whatever the tests themselves were started by
  ::posix_spawnattr_init(&attributes);
  sigset_t set;
  ::sigemptyset(&set);
  ::posix_spawnattr_setsigmask(&attributes, &set);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM}) ::sigaddset(&set, signal);
  ::posix_spawnattr_setsigdefault(&attributes, &set);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> argv;
  for (auto& argument : arguments_) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const int error = ::posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    pid_ = 0;
    throw std::system_error(error, std::generic_category(), "cannot run " + arguments_[0]);
  }
  input_ = std::move(in.write_end);
  output_ = std::move(out.read_end);
  errors_ = std::move(err.read_end);
}

void Command::write_input(const std::string& text) {
  if (::write(input_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw std::system_error(errno, std::generic_category(), "the command does not read its input");
}

std::optional<std::string> Command::read_line() {
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (!read_some(output_, buffer_)) return {};
  }
}

Ended Command::wait() {
  input_.reset();
  Ended ended;
  std::array<pollfd, 2> looks{{{output_.get(), POLLIN, 0}, {errors_.get(), POLLIN, 0}}};
  while (looks[0].fd >= 0 || looks[1].fd >= 0) {
    ::poll(looks.data(), looks.size(), -1);
    if (looks[0].revents != 0 && !read_some(output_, buffer_)) looks[0].fd = -1;
    if (looks[1].revents != 0 && !read_some(errors_, ended.err)) looks[1].fd = -1;
  }
  ended.out = std::move(buffer_);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = 0;
  ended.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return ended;
}

Ended run(std::vector<std::string> arguments, const std::string& input) {
  Command command(std::move(arguments));
  command.start();
  if (!input.empty()) command.write_input(input);
  return command.wait();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace yoke_test
