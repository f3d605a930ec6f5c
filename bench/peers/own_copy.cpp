#include "bench/peers/own_copy.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <system_error>

#include "bench/measure.hpp"

namespace yoke::bench {
namespace {

constexpr const char* exit_argument = "--exit-at-once";
constexpr const char* idle_argument = "--stay-idle";

pid_t spawn_self(const char* argument, int output) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (output >= 0) ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  char name[] = "yoke-bench";
  char* arguments[] = {name, const_cast<char*>(argument), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, arguments, ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::system_category(), "posix_spawn of this program");
  return pid;
}

void wait_for(pid_t pid) {
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

void act_as_copy(int argc, char** argv) {
  if (argc != 2) return;
  if (argv[1] == std::string_view(exit_argument)) ::_exit(0);
  if (argv[1] != std::string_view(idle_argument)) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::close(STDOUT_FILENO);  // tells that main is reached
  for (;;) ::pause();
}

double seconds_of_exiting_copy() {
  const Stopwatch watch;
  wait_for(spawn_self(exit_argument, -1));
  return watch.seconds();
}

IdleCopy::IdleCopy() : pid_(-1) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category(), "pipe2");
  pid_ = spawn_self(idle_argument, ends[1]);
  ::close(ends[1]);
  char nothing;
  while (::read(ends[0], &nothing, 1) < 0 && errno == EINTR) {
  }
  ::close(ends[0]);
}

IdleCopy::~IdleCopy() {
  ::kill(pid_, SIGKILL);
  wait_for(pid_);
}

}  // namespace yoke::bench
