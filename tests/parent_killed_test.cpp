// D9: the program is killed. No worker, nested worker, grandchild pool or task's child lives on, whatever it was doing.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"
#include "tests/support/process_tree.hpp"

namespace {

using namespace yoke_test;

class ParentKilled : public HouseTest {
 protected:
  /// Starts the program, kills it as told, and waits until no process of it is left.
  void run(const std::string& resident, const std::function<void(pid_t)>& kill, bool one_is_stopped = false) {
    std::vector<std::string> arguments{resident};
    if (one_is_stopped) arguments.push_back("stopped");
    ChildProgram program(child_path("test_busy_program"), arguments);
    ASSERT_EQ(program.read_line(), "ready");
    const pid_t itself = program.pid();
    // Its workers, and what is below one of them. A process that is in its exec shows no environment for a moment.
    wait_until([&] { return descendants(itself).size() == 6U + tree_size(3) - 1; }, "the whole tree");
    const auto begin = std::chrono::steady_clock::now();
    kill(itself);
    wait_until([&] { return descendants(itself).empty(); }, "the workers to end with their parent");
    const auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin);
    std::cout << "all gone after " << took.count() << " ms (the promise is 100 ms)\n";
    RecordProperty("ms", std::to_string(took.count()));
    EXPECT_LT(took.count(), 10'000);
    EXPECT_TRUE(WIFSIGNALED(program.wait()));
  }
  static void kill_it(pid_t pid) { ::kill(pid, SIGKILL); }
};

TEST_F(ParentKilled, D9_by_sigkill) { run("0", kill_it); }
TEST_F(ParentKilled, D9_by_a_signal_that_it_does_not_handle) {
  run("0", [](pid_t pid) { ::kill(pid, SIGTERM); });
}
TEST_F(ParentKilled, D9_by_a_crash) {
  may_write_stderr();
  run("0", [](pid_t pid) { ::kill(pid, SIGSEGV); });
}
TEST_F(ParentKilled, D9_with_its_process_group) {
  run("0", [](pid_t pid) { ::kill(-pid, SIGKILL); });
}
TEST_F(ParentKilled, D9_with_a_worker_that_is_stopped) { run("0", kill_it, true); }
TEST_F(ParentKilled, D9_with_a_gigabyte_resident) { run(sanitized ? "100" : "1024", kill_it); }
TEST_F(ParentKilled, D9_with_four_gigabytes_resident_or_what_the_memory_allows) {
  const auto free =
      static_cast<std::size_t>(::sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  run(sanitized ? "200" : std::to_string(std::min<std::size_t>(4096, (free >> 20) / 3)), kill_it);
}

TEST_F(ParentKilled, D9_again_and_again) {
  for (int i = 0; i < 5; ++i) run("0", kill_it);
}

}  // namespace
