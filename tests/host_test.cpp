// C14, C15, U1: a host program that gives nothing to start workers with, that takes their exit status away, or whose
// caller is not to be trusted.
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
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
  /// `most`: -1, as many as there are.
  explicit NoDescriptors(int most = -1) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const int next = ::dup(2);
    ::close(next);
    const rlimit none{static_cast<rlim_t>(most < 0 ? next : most), before_.rlim_max};
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

std::string text_of(std::size_t length) { return std::string(length, 'x'); }

TEST_F(HostTest, I12_results_wait_by_the_hundred_with_few_descriptors) {
  yoke::ProcessPoolExecutor pool(2);
  prime(pool, 2, board);
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const int next = ::dup(2);
  ::close(next);
  const rlimit few{static_cast<rlim_t>(next) + 150, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<yoke::Future<std::string>> results;
  std::vector<yoke::Future<std::string>> dropped;
  for (std::size_t i = 0; i < 400; ++i) {
    results.push_back(pool.submit(text_of, 100'000 + i));
    dropped.push_back(pool.submit(text_of, 100'000U));
  }
  yoke::wait(dropped, 60s);
  dropped.clear();
  yoke::wait(results, 60s);
  for (std::size_t i = 0; i < results.size(); ++i) ASSERT_EQ(soon(results[i]).get(), std::string(100'000 + i, 'x'));
  EXPECT_EQ(pool.stats().deaths, 0U);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_F(HostTest, I12_what_lacks_for_a_while_only_delays) {
  yoke::ProcessPoolExecutor pool(1);
  const int pid = soon(pool.submit(own_pid)).get();
  yoke::Future<int> future;
  {
    const NoDescriptors none;
    ::kill(pid, SIGKILL);
    wait_until([&] { return pool.stats().deaths == 1; }, "the death");
    future = pool.submit(add_one, 1);
    // More tries than may fail where nothing can come of them.
    EXPECT_EQ(future.wait_for(std::chrono::seconds(7)), std::future_status::timeout);
  }
  EXPECT_EQ(soon(future).get(), 2);
}

TEST_F(HostTest, I12_what_lacks_for_long_fails_the_tasks_that_wait_and_no_others) {
  yoke::ProcessPoolExecutor pool({.max_workers = 1, .start_timeout = std::chrono::seconds(5)});
  const int pid = soon(pool.submit(own_pid)).get();
  {
    const NoDescriptors none;
    ::kill(pid, SIGKILL);
    wait_until([&] { return pool.stats().deaths == 1; }, "the death");
    const auto first = pool.submit(add_one, 1);
    const auto error = thrown_by<yoke::Error>([&] { soon(first).result(); });
    EXPECT_NE(std::string(error->what()).find("Too many open files"), std::string::npos) << error->what();
  }
  EXPECT_EQ(soon(pool.submit(add_one, 1)).get(), 2);
}

TEST_F(HostTest, I12_a_death_is_told_where_nothing_can_be_opened) {
  yoke::ProcessPoolExecutor pool(1);
  soon(pool.submit(add_one, 1)).get();
  {
    const NoDescriptors none;
    const auto future = pool.submit(die, SIGKILL);
    EXPECT_EQ(death_of(future).signal, SIGKILL);
  }
  EXPECT_EQ(soon(pool.submit(add_one, 1)).get(), 2);
}

TEST_F(HostTest, I12_a_death_is_told_under_any_limit_of_descriptors) {
  for (const int most : {0, 1, 3}) {
    yoke::ProcessPoolExecutor pool(1);
    soon(pool.submit(add_one, 1)).get();
    {
      const NoDescriptors none(most);
      const auto death = death_of(pool.submit(die, SIGSEGV));
      EXPECT_EQ(death.signal, SIGSEGV) << most;
      EXPECT_EQ(death.reason, "") << most;
    }
    EXPECT_EQ(soon(pool.submit(add_one, 1)).get(), 2);
  }
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

TEST_F(HostTest, I12_a_process_and_no_thread_for_it) {
  const std::string said = without_processes("threads", "0");
  if (said.empty()) GTEST_SKIP() << "this kernel has no filters for system calls";
  EXPECT_NE(said.find("Resource temporarily unavailable"), std::string::npos) << said;
  EXPECT_NE(said.find("thread"), std::string::npos) << said;
  EXPECT_NE(said.find("; it takes tasks still"), std::string::npos) << said;
  EXPECT_EQ(without_processes("threads", "1"), "sum 210");
}

TEST_F(HostTest, I12_who_attaches_a_callback_is_told_that_no_thread_can_call_it) {
  EXPECT_EQ(without_processes("callbacks", "0"), "refused 2, called with 2");
}

TEST_F(HostTest, I23_a_program_with_much_static_thread_local_storage) {
  ChildProgram program(child_path("test_thread_local_program"), {});
  EXPECT_EQ(program.read_line(), "41");
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(HostTest, C14_no_second_process) {
  for (const char* error : {"again", "memory"}) {
    const std::string said = without_processes(error, "1");
    if (said.empty()) GTEST_SKIP() << "this kernel has no filters for system calls";
    EXPECT_EQ(said, "sum 210");  // on the one that there is
  }
}

/// Processes of a task, some of which are handed to the program when their parents are gone; and then the worker dies.
int leave_children_and_die(const Board& board) {
  for (int i = 0; i < 3; ++i) {
    if (::fork() != 0) continue;
    if (::fork() == 0) board.add(entered);
    for (;;) ::pause();
  }
  board.wait_for(entered, board.get(gate) + 3);
  board.add(gate, 3);
  ::raise(SIGSEGV);
  return -1;
}
/// A process that is the program's own child from the beginning.
int leave_a_sibling(const Board& board) {
  if (::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr) == 0) {
    board.add(entered);
    for (;;) ::pause();
  }
  board.wait_for(entered);
  return 1;
}

/// What tasks left is handed to it, as to the first process of a container.
class SubreaperTest : public PoolTest {
 protected:
  void SetUp() override {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    PoolTest::SetUp();
  }
  void TearDown() override {
    PoolTest::TearDown();  // looks for zombies
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }
};

TEST_F(SubreaperTest, I20_what_a_dead_workers_task_left_is_ended_and_reaped) {
  for (int i = 0; i < 5; ++i) EXPECT_EQ(death_of(pool->submit(leave_children_and_die, board)).signal, SIGSEGV);
  pool->shutdown();
}

TEST_F(SubreaperTest, I20_U11_siblings_that_a_task_made_are_reaped_with_its_worker) {
  EXPECT_EQ(soon(pool->submit(leave_a_sibling, board)).get(), 1);
  pool->shutdown();
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

/// A copy of test_privileged_program that anybody may start, and that is given rights as a file.
class RightsTest : public HouseTest {
 protected:
  static constexpr unsigned nobody = 65534;

  void SetUp() override {
    HouseTest::SetUp();
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give a program rights";
    folder_ = std::filesystem::temp_directory_path() / ("yoke_rights_" + std::to_string(::getpid()));
    std::filesystem::create_directory(folder_);
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    std::filesystem::copy_file(child_path("test_privileged_program"), program());
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
    HouseTest::TearDown();
  }
  std::string program() const { return folder_ / "program"; }
  void set_mode(unsigned mode) const { ASSERT_EQ(::chmod(program().c_str(), mode), 0); }
  void give_capability() const {
    constexpr std::uint32_t revision_2_effective = 0x02000001, net_raw = 1U << 13;
    const std::array<std::uint32_t, 5> data{revision_2_effective, net_raw, 0, 0, 0};
    set_mode(0755);
    if (::setxattr(program().c_str(), "security.capability", data.data(), sizeof data, 0) != 0)
      GTEST_SKIP() << "no file can have capabilities here";
  }
  /// As nobody, with the environment; "secure 1" has been read, or the test is over.
  std::string said_to_nobody(const std::vector<std::string>& environment) const {
    const std::string id = std::to_string(nobody);
    ChildProgram child("/usr/bin/setpriv", {"--reuid=" + id, "--regid=" + id, "--clear-groups", program()},
                       environment);
    child.close_input();
    return child.read_all();
  }
  /// Whatever its caller says, it is the program itself, and has no workers, which it says.
  void expect_trusts_nobody() const {
    const std::string plain = said_to_nobody({});
    if (plain.starts_with("secure 0")) GTEST_SKIP() << "the file system gives no rights to programs (nosuid)";
    EXPECT_NE(plain.find("cannot have worker processes"), std::string::npos) << plain;
    for (const char* variable :
         {"YOKE_WORKER=3,4,5", "YOKE_WORKER=", "YOKE_AGENT=x", "YOKE_IN_PROCESS=1", "YOKE_MAX_CPU_COUNT=1",
          "YOKE_MAX_DEPTH=1", "YOKE_LOG=debug", "YOKE_WORKER_STOP=1", "YOKE_WORKER_PROGRAM=/bin/echo"})
      EXPECT_EQ(said_to_nobody({variable}), plain) << variable;
    EXPECT_EQ(stderr_text(), "");
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(RightsTest, U1_a_set_user_id_program_takes_no_role) {
  set_mode(04755);
  expect_trusts_nobody();
}

TEST_F(RightsTest, U1_a_set_group_id_program_takes_no_role) {
  set_mode(02755);
  expect_trusts_nobody();
}

TEST_F(RightsTest, U1_a_program_with_capabilities_takes_no_role) {
  give_capability();
  if (!IsSkipped()) expect_trusts_nobody();
}

TEST_F(RightsTest, U1_a_worker_does_not_regain_rights_that_the_program_gave_up) {
  set_mode(04755);
  ChildProgram child(program(), {"as", std::to_string(nobody)});
  const std::string said = child.read_all();
  EXPECT_TRUE(said.starts_with("secure 0\nmain of 0/65534\n")) << said;
  EXPECT_NE(said.find("cannot have worker processes"), std::string::npos) << said;
}

TEST_F(RightsTest, U1_workers_of_a_program_that_took_another_user_s_rights_have_those_alone) {
  set_mode(0755);
  ChildProgram child(program(), {"as", std::to_string(nobody)});
  const std::string said = child.read_all();
  EXPECT_NE(said.find("\nworker of 65534/65534\n"), std::string::npos) << said;
}

TEST_F(RightsTest, U1_a_set_user_id_program_in_the_hands_of_its_owner_has_workers) {
  set_mode(04755);
  ChildProgram child(program());
  const std::string said = child.read_all();
  EXPECT_NE(said.find("\nworker of 0/0\n"), std::string::npos) << said;
}

}  // namespace
