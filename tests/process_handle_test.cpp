// What a process handle tells of a child that lives, ends and has ended.
#include "lib/system/process_handle.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <functional>
#include <string>
#include <system_error>
#include <thread>

#include "lib/system/futex.hpp"
#include "lib/system/memfd.hpp"
#include "lib/system/read_text.hpp"

namespace {

using namespace yoke::system;
using std::chrono::steady_clock;

// A child that runs `body` and ends with what it returns. ASSERT and EXPECT do not reach the parent from there.
pid_t fork_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  return child;
}

int wait_for_ever() {
  for (;;) ::pause();
}

int signal_of(const ExitStatus& status) {
  return std::holds_alternative<Signaled>(status) ? std::get<Signaled>(status).signal : 0;
}
int code_of(const ExitStatus& status) {
  return std::holds_alternative<Exited>(status) ? std::get<Exited>(status).code : -1;
}

void wait_until_dead(const ProcessHandle& child) {
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
}

/// With pidfds, and as where there are none.
class Process : public testing::TestWithParam<ProcessHandle::KnownBy> {};

TEST_P(Process, TellsHowItEndedAgainAndAgain) {
  ProcessHandle exited(fork_child([] { return 42; }), GetParam());
  ProcessHandle killed(fork_child(wait_for_ever), GetParam());
  EXPECT_FALSE(killed.try_reap());
  EXPECT_FALSE(killed.wait_exit(steady_clock::now()));
  killed.signal(SIGTERM);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(code_of(*exited.wait_exit({})), 42);
    EXPECT_EQ(signal_of(*killed.wait_exit({})), SIGTERM);
  }
  EXPECT_EQ(code_of(*exited.try_reap()), 42);
  EXPECT_EQ(code_of(*exited.early_status()), 42);
  EXPECT_TRUE(exited.dying_or_dead());
  exited.signal(SIGKILL);  // nobody, and no error
  exited.signal_group(SIGKILL);
}

TEST_P(Process, IsAliveUntilItIsNot) {
  ProcessHandle child(fork_child(wait_for_ever), GetParam());
  EXPECT_FALSE(child.dying_or_dead());
  EXPECT_FALSE(child.early_status());
  child.signal(SIGKILL);
  wait_until_dead(child);
  EXPECT_TRUE(child.dying_or_dead());
  EXPECT_EQ(signal_of(*child.early_status()), SIGKILL);
  EXPECT_EQ(signal_of(*child.try_reap()), SIGKILL);
}

TEST_P(Process, TellsEarlyWhatItTellsLater) {
  for (const int code : {0, 1, 42, 255}) {
    ProcessHandle child(fork_child([&] { return code; }), GetParam());
    wait_until_dead(child);
    EXPECT_EQ(code_of(*child.early_status()), code);
    EXPECT_EQ(code_of(*child.try_reap()), code);
  }
}

// A child whose main thread holds a robust mutex, and whose memory takes a while to be torn down.
struct Noticed {
  UniqueFd fd = create_memfd("life", 4096);
  Mapping mapping{fd.get(), 4096, Access::read_write};
  pthread_mutex_t* mutex = reinterpret_cast<pthread_mutex_t*>(mapping.data());
  Word* word = reinterpret_cast<Word*>(mapping.data());
  ProcessHandle child;

  Noticed(ProcessHandle::KnownBy known_by, const std::function<int()>& body) {
    pthread_mutexattr_t robust;
    ::pthread_mutexattr_init(&robust);
    ::pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(mutex, &robust);
    child = ProcessHandle(fork_child([&] {
                            constexpr std::size_t ballast = 128 * 1024 * 1024;
                            void* memory = ::mmap(nullptr, ballast, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
                            if (memory == MAP_FAILED) return 99;
                            ::pthread_mutex_lock(mutex);
                            futex_wake(*word, INT_MAX, Sharing::shared);
                            return body();
                          }),
                          known_by);
    while (word->load() == 0) std::this_thread::yield();
  }
  void wait_for_notice() const {
    while (true) {
      const std::uint32_t value = word->load() | 0x80000000U;  // FUTEX_WAITERS
      if ((value & 0x40000000U) != 0) return;                  // FUTEX_OWNER_DIED
      std::uint32_t expected = value & ~0x80000000U;
      word->compare_exchange_strong(expected, value);
      futex_wait(*word, value, Sharing::shared);
    }
  }
};

TEST_P(Process, TellsItsStatusAtTheNoticeOfItsDeath) {
  for (const int signal : {SIGKILL, SIGTERM, SIGUSR1}) {
    Noticed noticed(GetParam(), wait_for_ever);
    EXPECT_FALSE(noticed.child.early_status());
    noticed.child.signal(signal);
    noticed.wait_for_notice();
    EXPECT_TRUE(noticed.child.dying_or_dead());
    EXPECT_EQ(signal_of(*noticed.child.early_status()), signal);
    EXPECT_EQ(signal_of(*noticed.child.wait_exit({})), signal);
  }
  Noticed exits(GetParam(), [] { return 42; });
  exits.wait_for_notice();
  EXPECT_TRUE(exits.child.dying_or_dead());
  EXPECT_EQ(code_of(*exits.child.early_status()), 42);
  EXPECT_EQ(code_of(*exits.child.wait_exit({})), 42);
}

TEST_P(Process, NeverTellsAWrongStatusWhileItCrashes) {
  for (int round = 0; round < 20; ++round) {
    Noticed noticed(GetParam(), [] {
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      ::signal(SIGSEGV, SIG_DFL);
      ::raise(SIGSEGV);
      return 0;
    });
    while (!noticed.child.try_reap()) {
      const auto early = noticed.child.early_status();
      if (early) {
        ASSERT_EQ(signal_of(*early), SIGSEGV);
      }
    }
    EXPECT_EQ(signal_of(*noticed.child.try_reap()), SIGSEGV);
  }
}

TEST_P(Process, LivesWhileItIsStopped) {
  ProcessHandle child(fork_child(wait_for_ever), GetParam());
  child.signal(SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT), 0);
  EXPECT_FALSE(child.dying_or_dead());
  EXPECT_FALSE(child.early_status());
  EXPECT_FALSE(child.try_reap());
  child.signal(SIGKILL);
  EXPECT_EQ(signal_of(*child.wait_exit({})), SIGKILL);
}

TEST_P(Process, LivesWhenOnlyItsMainThreadEnded) {
  Noticed noticed(GetParam(), [] {
    std::thread(wait_for_ever).detach();
    ::syscall(SYS_exit, 5);
    return 0;
  });
  noticed.wait_for_notice();
  EXPECT_FALSE(noticed.child.dying_or_dead());
  EXPECT_FALSE(noticed.child.early_status());
  EXPECT_FALSE(noticed.child.try_reap());
  noticed.child.signal(SIGKILL);
  EXPECT_EQ(signal_of(*noticed.child.wait_exit({})), SIGKILL);
}

// On a busy machine the last thread may come to its end long after the others. This one is kept from it by a freezer.
TEST_P(Process, HasEndedThoughAThreadWasNotYetScheduled) {
  const std::string group = "/sys/fs/cgroup/freezer/yoke-test-" + std::to_string(::getpid());
  if (::mkdir(group.c_str(), 0700) != 0) GTEST_SKIP() << "cannot make a cgroup of version 1 that freezes";
  const auto write_to = [&](const char* file, const std::string& text) {
    const UniqueFd fd(::open((group + '/' + file).c_str(), O_WRONLY | O_CLOEXEC));
    return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  };
  std::array<int, 2> tell{};
  std::array<int, 2> go{};
  ASSERT_EQ(::pipe2(tell.data(), O_CLOEXEC) | ::pipe2(go.data(), O_CLOEXEC), 0);
  ProcessHandle child(fork_child([&] {
                        std::thread([&] {
                          const auto thread = static_cast<pid_t>(::syscall(SYS_gettid));
                          [[maybe_unused]] const auto written = ::write(tell[1], &thread, sizeof thread);
                          wait_for_ever();
                        }).detach();
                        char byte = 0;
                        return ::read(go[0], &byte, 1) == 1 ? 3 : 99;
                      }),
                      GetParam());
  pid_t thread = 0;
  ASSERT_EQ(::read(tell[0], &thread, sizeof thread), static_cast<ssize_t>(sizeof thread));
  ASSERT_TRUE(write_to("tasks", std::to_string(thread)) && write_to("freezer.state", "FROZEN"));
  const auto give_up = steady_clock::now() + std::chrono::seconds(20);
  const auto is_frozen = [&] { return read_text((group + "/freezer.state").c_str()) == "FROZEN\n"; };
  while (!is_frozen() && steady_clock::now() < give_up) std::this_thread::yield();
  EXPECT_TRUE(is_frozen());
  EXPECT_EQ(::write(go[1], "!", 1), 1);
  while (!child.dying_or_dead() && steady_clock::now() < give_up) std::this_thread::yield();
  EXPECT_TRUE(child.dying_or_dead());
  EXPECT_FALSE(child.try_reap());
  EXPECT_EQ(child.early_status() ? code_of(*child.early_status()) : -1, 3);
  EXPECT_TRUE(write_to("freezer.state", "THAWED"));
  EXPECT_EQ(code_of(*child.wait_exit({})), 3);
  EXPECT_EQ(::rmdir(group.c_str()), 0);
  for (const int fd : {tell[0], tell[1], go[0], go[1]}) ::close(fd);
}

TEST_P(Process, IsKnownToBeDeadWhenSomeoneElseReapedIt) {
  ProcessHandle child(fork_child([] { return 7; }), GetParam());
  ASSERT_EQ(::waitpid(child.pid(), nullptr, 0), child.pid());
  EXPECT_TRUE(child.dying_or_dead());
  EXPECT_FALSE(child.early_status());
  const ExitStatus status = *child.try_reap();
  // Linux 6.15 keeps the status for the pidfd.
  EXPECT_TRUE(std::holds_alternative<StatusTaken>(status) || code_of(status) == 7);
}

TEST_P(Process, SignalsItsWholeGroup) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  ProcessHandle child(fork_child([&] {
                        ::setpgid(0, 0);
                        if (::fork() == 0) wait_for_ever();  // holds the pipe open as well
                        [[maybe_unused]] const auto written = ::write(pipe[1], "!", 1);
                        return wait_for_ever();
                      }),
                      GetParam());
  ::close(pipe[1]);
  char byte = 0;
  ASSERT_EQ(::read(pipe[0], &byte, 1), 1);
  child.signal_group(SIGKILL);
  EXPECT_EQ(::read(pipe[0], &byte, 1), 0) << "the grandchild lives";
  EXPECT_EQ(signal_of(*child.wait_exit({})), SIGKILL);
  ::close(pipe[0]);
}

INSTANTIATE_TEST_SUITE_P(KnownBy, Process,
                         testing::Values(ProcessHandle::KnownBy::pidfd_if_there, ProcessHandle::KnownBy::start_time),
                         [](const auto& kind) { return kind.index == 0 ? "Pidfd" : "StartTime"; });

TEST(NoProcess, IsAnError) {
  EXPECT_THROW(ProcessHandle{INT_MAX}, std::system_error);
  EXPECT_THROW(ProcessHandle(INT_MAX, ProcessHandle::KnownBy::start_time), std::system_error);
  ProcessHandle child(fork_child([] { return 0; }), ProcessHandle::KnownBy::start_time);
  ProcessHandle moved(std::move(child));
  EXPECT_TRUE(moved.wait_exit({}));
  const ProcessHandle& none = child;
  EXPECT_FALSE(none);
  none.signal(SIGKILL);
  none.signal_group(SIGKILL);
}

}  // namespace
