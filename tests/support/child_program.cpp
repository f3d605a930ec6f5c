#include "tests/support/child_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace yoke_test {
namespace {

constexpr int hang_guard_ms = 60'000;

bool readable_in_time(int fd) {
  pollfd look{fd, POLLIN, 0};
  int result = 0;
  do {
    result = ::poll(&look, 1, hang_guard_ms);
  } while (result < 0 && errno == EINTR);
  return result == 1;
}

}  // namespace

std::string child_path(const std::string& name) { return std::string(CHILDREN) + "/" + name; }

ChildProgram::ChildProgram(const std::string& path, std::vector<std::string> arguments,
                           const std::vector<std::string>& environment) {
  int out[2], in[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(in, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::system_category(), "pipe2");
  output_ = out[0];
  input_ = in[1];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  arguments.insert(arguments.begin(), path);
  std::vector<char*> argv, envp;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> added(environment);
  for (auto& variable : added) envp.push_back(variable.data());
  for (char** variable = ::environ; *variable; ++variable) envp.push_back(*variable);
  envp.push_back(nullptr);
  const int error = ::posix_spawn(&pid_, path.c_str(), &actions, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(out[1]);
  ::close(in[0]);
  if (error != 0) {
    ::close(output_);
    ::close(input_);
    throw std::system_error(error, std::system_category(), path);
  }
}

ChildProgram::~ChildProgram() {
  if (pid_ != 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(output_);
  close_input();
}

void ChildProgram::close_input() {
  if (input_ >= 0) ::close(input_);
  input_ = -1;
}

std::string ChildProgram::read_line() {
  for (;;) {
    if (const auto end = read_.find('\n'); end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    if (!readable_in_time(output_)) throw std::runtime_error("the child program says nothing");
    char part[4096];
    const ssize_t n = ::read(output_, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw std::runtime_error("the child program says no more; it said: " + read_);
    read_.append(part, static_cast<std::size_t>(n));
  }
}

std::string ChildProgram::read_all() {
  std::string all;
  try {
    for (;;) all += read_line() + "\n";
  } catch (const std::runtime_error&) {
  }
  return all + read_;
}

int ChildProgram::wait() {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  const bool ended = readable_in_time(pidfd);
  ::close(pidfd);
  if (!ended) throw std::runtime_error("the child program does not end");
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = 0;
  return status;
}

}  // namespace yoke_test
