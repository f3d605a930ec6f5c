// U7: workers that this process may not signal, and rights that tasks may not gain.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
namespace fs = std::filesystem;

std::string no_new_privileges() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("NoNewPrivs:")) return line.substr(line.size() - 1);
  return "not told";
}

class PrivilegesTest : public PoolTest {
 protected:
  /// The worker's pid as the program tells it, and whether it is there.
  static int first_worker(ChildProgram& program) {
    const std::string line = program.read_line();
    return line == "no filter" ? 0 : std::stoi(line);
  }
  static bool lives(int pid) { return ::kill(pid, 0) == 0; }
};

TEST_F(PrivilegesTest, U7_tasks_gain_no_rights_by_exec_unless_that_is_asked_for) {
  EXPECT_EQ(soon(pool->submit(no_new_privileges)).get(), "1");
  restart({.max_workers = 1, .new_privileges = true});
  EXPECT_EQ(soon(pool->submit(no_new_privileges)).get(), no_new_privileges());
}

TEST_F(PrivilegesTest, U7_a_program_that_gave_up_its_rights_ends_its_workers) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has rights to give up";
  ChildProgram program(child_path("test_nobody_program"), {"drop"});
  const int worker = first_worker(program);
  EXPECT_EQ(program.read_line(), "timeout");
  EXPECT_EQ(program.read_line(), "next runs");
  EXPECT_EQ(program.read_line(), "shut down");
  EXPECT_EQ(program.wait(), 0);
  EXPECT_FALSE(lives(worker));
}

TEST_F(PrivilegesTest, U7_a_filter_that_forbids_one_way_leaves_another) {
  ChildProgram program(child_path("test_nobody_program"), {"filter"});
  const int worker = first_worker(program);
  if (worker == 0) GTEST_SKIP() << "this kernel has no filters for system calls";
  EXPECT_EQ(program.read_line(), "timeout");
  EXPECT_EQ(program.read_line(), "next runs");
  EXPECT_EQ(program.read_line(), "shut down");
  EXPECT_EQ(program.wait(), 0);
  EXPECT_FALSE(lives(worker));
}

TEST_F(PrivilegesTest, U7_a_worker_that_became_root_is_given_up_and_named) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a set-user-ID program of root's";
  const fs::path copy = fs::temp_directory_path() / ("yoke-set-user-id-" + std::to_string(::getpid()));
  fs::copy_file(child_path("test_root_program"), copy, fs::copy_options::overwrite_existing);
  ASSERT_EQ(::chmod(copy.c_str(), 04755), 0);
  ChildProgram program(child_path("test_nobody_program"), {"exec", copy.string()});
  const int worker = first_worker(program);
  const std::string error = program.read_line();
  EXPECT_EQ(program.read_line(), "next runs");
  EXPECT_EQ(program.read_line(), "shut down");
  EXPECT_EQ(program.wait(), 0);
  const bool became_root = lives(worker);
  ::kill(worker, SIGKILL);
  fs::remove(copy);
  if (!became_root) GTEST_SKIP() << "set-user-ID programs do not work here: " << error;
  EXPECT_NE(error.find("lives on"), std::string::npos) << error;
  EXPECT_NE(error.find("pid " + std::to_string(worker)), std::string::npos) << error;
}

}  // namespace
