// D9: the program is killed. No worker, nested worker or task's child lives on, whatever it was doing.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <string>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

class ParentKilled : public HouseTest {
 protected:
  /// Starts the program, kills it as told, and waits until no process of it is left.
  void run(const std::string& resident, const std::function<void(pid_t)>& kill) {
    ChildProgram program(child_path("test_busy_program"), {resident});
    ASSERT_EQ(program.read_line(), "ready");
    EXPECT_EQ(descendants().size(), 1U + 6 + 2 + 1);  // itself, workers, nested workers, a task's child
    const std::string itself = std::to_string(program.pid());
    const auto is_itself = [&](const std::string& process) { return process.starts_with(itself + " "); };
    const auto begin = std::chrono::steady_clock::now();
    kill(program.pid());
    wait_until([&] { return std::ranges::all_of(descendants(), is_itself); }, "the workers to end with their parent");
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
TEST_F(ParentKilled, D9_with_a_gigabyte_resident) { run(sanitized ? "100" : "1024", kill_it); }

TEST_F(ParentKilled, D9_again_and_again) {
  for (int i = 0; i < 5; ++i) run("0", kill_it);
}

}  // namespace
