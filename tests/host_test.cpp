// C14, C15: a host program that gives nothing to start workers with, or that takes their exit status away.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate };

int die(int signal) { kill_self(signal); }

/// No further descriptor can be opened while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(2);
    ::close(next);
    const rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

using HostTest = HouseTest;

TEST_F(HostTest, C14_no_descriptors_at_all) {
  yoke::ProcessPoolExecutor pool(2);
  const NoDescriptors none;
  std::string text;
  try {
    soon(pool.submit(add_one, 1)).get();
  } catch (const std::exception& error) {
    text = error.what();
  }
  EXPECT_NE(text.find("Too many open files"), std::string::npos) << text;
}

TEST_F(HostTest, C14_no_descriptors_for_a_second_worker) {
  yoke::ProcessPoolExecutor pool(2);
  soon(pool.submit(add_one, 1)).get();
  std::vector<yoke::Future<int>> futures;
  {
    const NoDescriptors none;
    futures.push_back(pool.submit(pass_gate, board, entered, gate));
    for (int i = 0; i < 20; ++i) futures.push_back(pool.submit(add_one, i));
    board.wait_for(entered);
    board.add(gate);
    for (const auto& future : futures) EXPECT_GT(soon(future).result(), 0);  // on the one that there is
  }
  EXPECT_EQ(soon(pool.submit(add_one, 1)).get(), 2);
}

TEST_F(HostTest, C14_workers_come_when_there_are_descriptors_again) {
  yoke::ProcessPoolExecutor pool(2);
  soon(pool.submit(add_one, 1)).get();
  {
    const NoDescriptors none;
    const auto first = pool.submit(pass_gate, board, entered, gate);
    const auto second = pool.submit(add_one, 1);
    board.wait_for(entered);
    board.add(gate);
    soon(second).wait();
  }
  prime(pool, 2, board);
}

TEST_F(HostTest, C14_a_large_message_without_descriptors) {
  yoke::ProcessPoolExecutor pool(1);
  const auto length = [](const std::string& s) { return s.size(); };
  soon(pool.submit(length, "warm")).get();
  {
    const NoDescriptors none;
    std::string text;
    try {
      soon(pool.submit(length, std::string(1'000'000, 'x'))).get();
    } catch (const std::exception& error) {
      text = error.what();
    }
    EXPECT_NE(text.find("Too many open files"), std::string::npos) << text;
  }
  EXPECT_EQ(soon(pool.submit(length, std::string(1'000'000, 'x'))).get(), 1'000'000U);
}

/// What the program says that gets no new process from a moment on. Empty where that cannot be arranged.
std::string without_processes(const std::string& error, const std::string& workers) {
  ChildProgram program(child_path("test_few_processes_program"), {error, workers});
  const std::string said = program.read_line();
  EXPECT_EQ(program.wait(), 0);
  return said == "no filter" ? std::string() : said;
}

TEST_F(HostTest, C14_no_processes_at_all) {
  const std::string said = without_processes("again", "0");
  if (said.empty()) GTEST_SKIP() << "this kernel has no filters for system calls";
  EXPECT_NE(said.find("Resource temporarily unavailable"), std::string::npos) << said;
}

TEST_F(HostTest, C14_no_memory_for_a_process) {
  const std::string said = without_processes("memory", "0");
  if (said.empty()) GTEST_SKIP() << "this kernel has no filters for system calls";
  EXPECT_NE(said.find("Cannot allocate memory"), std::string::npos) << said;
}

TEST_F(HostTest, C14_no_second_process) {
  for (const char* error : {"again", "memory"}) {
    const std::string said = without_processes(error, "1");
    if (said.empty()) GTEST_SKIP() << "this kernel has no filters for system calls";
    EXPECT_EQ(said, "sum 210");  // on the one that there is
  }
}

TEST_F(HostTest, C15_the_host_ignores_sigchld) {
  ::signal(SIGCHLD, SIG_IGN);
  {
    yoke::ProcessPoolExecutor pool(3);
    prime(pool, 3, board);
    for (int i = 0; i < 5; ++i) {
      const auto death = death_of(pool.submit(die, SIGKILL));
      EXPECT_TRUE(!death.status_known || death.signal == SIGKILL);
    }
    prime(pool, 3, board);
    shut_down_in_time(pool);
  }
  ::signal(SIGCHLD, SIG_DFL);
}

TEST_F(HostTest, C15_the_host_reaps_everything) {
  std::atomic<bool> stop{false};
  std::thread reaper([&] {
    while (!stop)
      if (::waitpid(-1, nullptr, WNOHANG) <= 0) std::this_thread::yield();
  });
  {
    yoke::ProcessPoolExecutor pool(3);
    prime(pool, 3, board);
    for (int i = 0; i < 10; ++i) {
      const auto death = death_of(pool.submit(die, SIGKILL));
      EXPECT_TRUE(!death.status_known || death.signal == SIGKILL);
    }
    prime(pool, 3, board);
    shut_down_in_time(pool);
  }
  stop = true;
  reaper.join();
}

TEST_F(HostTest, C15_the_host_blocks_every_signal) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  {
    yoke::ProcessPoolExecutor pool(2);
    EXPECT_EQ(death_of(pool.submit(die, SIGTERM)).signal, SIGTERM);
    EXPECT_EQ(soon(pool.submit(add_one, 1)).get(), 2);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
