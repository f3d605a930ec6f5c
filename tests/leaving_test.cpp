// C13, D7, D15, D20, D22, E11: programs that end with work pending, in all kinds of ways.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using Lines = std::vector<std::string>;

class Leaving : public HouseTest {
 protected:
  /// Runs the program to its end: what it said, sorted, since workers speak in any order.
  Lines run(const std::string& mode, int expected_code = 0,
            const std::string& path = child_path("test_leaving_program")) {
    ChildProgram program(path, {mode});
    std::istringstream text(program.read_all());
    const int status = program.wait();
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == expected_code) << "wait status " << status;
    EXPECT_EQ(stderr_text(), "");
    Lines lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
  static Lines sorted(Lines lines) {
    std::sort(lines.begin(), lines.end());
    return lines;
  }
};

TEST_F(Leaving, D7_main_returns_with_work_pending) {
  EXPECT_EQ(sorted(run("pending")), (Lines{"done 0", "done 1", "done 2", "done 3", "done 4", "done 5"}));
}
TEST_F(Leaving, D7_callbacks_still_run) { EXPECT_EQ(run("callback"), (Lines{"called with 42"})); }
TEST_F(Leaving, D7_exit_from_another_thread) {
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ(sorted(run("exit_from_thread", 7)), (Lines{"done 0", "done 1", "done 2", "done 3"}));
}
TEST_F(Leaving, D7_exit_from_a_callback) { EXPECT_EQ(run("exit_from_callback", 7), Lines{}); }
TEST_F(Leaving, D7_a_static_executor) {
  EXPECT_EQ(sorted(run("static_executor")), (Lines{"done 0", "done 1", "done 2", "done 3"}));
}
TEST_F(Leaving, D7_submit_during_static_destruction_throws) { EXPECT_EQ(run("submit_at_end"), (Lines{"refused"})); }
TEST_F(Leaving, D7_results_can_be_had_during_static_destruction) { EXPECT_EQ(run("result_at_end"), (Lines{"xxx"})); }
TEST_F(Leaving, D7_while_workers_crash) { EXPECT_EQ(run("crash_pending"), Lines{}); }
TEST_F(Leaving, D7_quick_exit_takes_the_workers_along) { EXPECT_EQ(run("quick", 3), Lines{}); }
TEST_F(Leaving, D7_the_reusable_executor) {
  EXPECT_EQ(sorted(run("reusable")), (Lines{"done 0", "done 1", "done 2", "done 3"}));
}

TEST_F(Leaving, E11_nested_reusable_executors) { EXPECT_EQ(run("nested"), (Lines{"42"})); }

TEST_F(Leaving, C13_the_program_is_replaced_and_deleted_while_it_runs) {
  namespace fs = std::filesystem;
  const fs::path copy = fs::path(child_path("replaced_program_") + std::to_string(::getpid()));
  fs::copy_file(child_path("test_leaving_program"), copy, fs::copy_options::overwrite_existing);
  EXPECT_EQ(run("replaced", 0, copy), (Lines{"2", "3", "4"}));
  std::error_code gone;
  fs::remove(copy, gone);
}

TEST_F(Leaving, D15_an_idle_pool_survives_ctrl_c) {
  ChildProgram program(child_path("test_leaving_program"), {"interrupted"});
  ASSERT_EQ(program.read_line(), "ready");
  ::kill(-program.pid(), SIGINT);
  EXPECT_EQ(program.read_all(), "interrupted\nthe same worker\ndeaths 0\n");
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(Leaving, D20_openmp_in_the_program_and_in_workers) {
#ifdef WITH_OPENMP
  EXPECT_EQ(run("", 0, child_path("test_openmp_program")),
            (Lines{"here 10510500, there 10010000", "threads of a worker: 3"}));
#else
  GTEST_SKIP() << "this compiler has no OpenMP installed";
#endif
}

TEST_F(Leaving, D20_a_fork_elsewhere) {
  EXPECT_EQ(run("forks"), (Lines{"the fork does not wait", "the fork was refused", "the fork's own pool says 10",
                                 "the fork ended with 5", "42"}));
}

TEST_F(Leaving, D22_before_main_it_says_what_to_do) {
  ChildProgram program(child_path("test_leaving_program"), {"before_main"}, {"YOKE_TEST_POOL_BEFORE_MAIN=1"});
  const std::string said = program.read_line();
  EXPECT_NE(said.find("submit in main"), std::string::npos) << said;
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(Leaving, D25_a_pool_at_namespace_scope) {
  ChildProgram program(child_path("test_leaving_program"), {"at_namespace_scope"}, {"YOKE_TEST_POOL_BEFORE_MAIN=1"});
  EXPECT_EQ(program.read_line(), "6");
  EXPECT_EQ(program.read_line(), "at its end");
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(Leaving, D22_without_the_start_hook_yoke_worker_does_it) {
  ChildProgram program(child_path("test_hookless_program"), {LATE_TASKS});
  EXPECT_EQ(program.read_line(), "six times seven is 42");
  program.wait();
}

TEST_F(Leaving, D22_without_that_too_it_says_what_to_do) {
  ChildProgram program(child_path("test_hookless_program"), {LATE_TASKS}, {"YOKE_WORKER_PROGRAM=/nowhere"});
  const std::string said = program.read_line();
  EXPECT_NE(said.find("Install yoke, put yoke-worker beside"), std::string::npos) << said;
  program.wait();
}

}  // namespace
