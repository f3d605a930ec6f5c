// I13 to I22: ordinary programs in ordinary places.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using Lines = std::vector<std::string>;

class Places : public HouseTest {
 protected:
  /// Runs the program to its end: what it said.
  Lines run(std::vector<std::string> arguments, const std::string& program_path = child_path("test_places_program")) {
    ChildProgram program(program_path, std::move(arguments));
    const std::string text = program.read_all();
    const int status = program.wait();
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
    EXPECT_EQ(stderr_text(), "");
    return lines_of(text);
  }
  static Lines lines_of(const std::string& text) {
    std::istringstream stream(text);
    Lines lines;
    for (std::string line; std::getline(stream, line);) {
      if (line.ends_with('\r')) line.pop_back();
      lines.push_back(line);
    }
    return lines;
  }
};

/// Runs the program in a session of its own, with a new terminal as its controlling one; returns what was written
/// there.
std::string run_at_terminal(const std::string& mode) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0)
    throw std::runtime_error("no terminal is to be had");
  const std::string name = ::ptsname(master);
  const std::string path = child_path("test_places_program");
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::setsid();
    const int terminal = ::open(name.c_str(), O_RDWR);
    ::ioctl(terminal, TIOCSCTTY, 0);
    for (int fd = 0; fd < 3; ++fd) ::dup2(terminal, fd);
    if (terminal > 2) ::close(terminal);
    ::execl(path.c_str(), path.c_str(), mode.c_str(), nullptr);
    ::_exit(127);
  }
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(master, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  ::close(master);
  int status = 0;
  ::waitpid(child, &status, 0);
  return text + (status == 0 ? "" : "wait status " + std::to_string(status) + "\n");
}

TEST_F(Places, I13_forks_while_threads_use_pools) { EXPECT_EQ(run({"forks"}), Lines{"over"}); }
TEST_F(Places, I13_a_fork_in_a_callback) { EXPECT_EQ(run({"fork_in_callback"}), Lines{"ended with 0"}); }
TEST_F(Places, I13_a_fork_that_exits_finishes_its_own_work) {
  Lines said = run({"fork_at_exit"});
  std::sort(said.begin(), said.end());
  EXPECT_EQ(said, (Lines{"called", "called", "done 0", "done 1", "the fork ended with 3"}));
}
TEST_F(Places, I13_a_bare_fork_is_refused_too) { EXPECT_EQ(run({"bare_fork"}), Lines{"the fork ended with 0"}); }

TEST_F(Places, I14_a_plug_in_in_its_next_version_runs_that_version) {
  const std::string folder = child_path("");
  const Lines said = run({"plug_ins", folder + "plug_in_1.so", folder + "plug_in_2.so", folder + "plug_in_3.so"});
  Lines right;
  for (const std::string version : {"1", "2", "3"})
    for (int i = 0; i < 4; ++i) right.push_back("here " + version + ", in a worker " + version);
  EXPECT_EQ(said, right);
}

TEST_F(Places, I14_a_plug_in_works_while_it_is_opened_and_closed) {
  const std::string file = child_path("") + "loading_plug_in.so";
  EXPECT_EQ(run({"loading", file}), (Lines{"44", "closed"}));
  EXPECT_EQ(run({"loading", file, "after another pool"}), (Lines{"44", "closed"}));
}

TEST_F(Places, I15_the_environment_changes_all_the_time) { EXPECT_EQ(run({"environment"}), Lines{"over"}); }
TEST_F(Places, I15_a_worker_has_the_environment_of_the_call_that_found_it_missing) {
  EXPECT_EQ(run({"environment_of_workers"}), (Lines{"before", "after", "(none)"}));
}

TEST_F(Places, I16_nothing_of_a_terminal_stops_a_worker) {
  EXPECT_EQ(lines_of(run_at_terminal("terminal")),
            (Lines{"a task prints", "what a task starts prints", "and sets", "opened by a worker: 0",
                   "sh: 1: cannot open /dev/tty: No such device or address", "read by a shell: 0", "group: 1"}));
}

TEST_F(Places, I21_main_ends_by_pthread_exit) {
  EXPECT_EQ(run({"main_ends"}), (Lines{"task 2", "long 1048577", "death"}));
}
TEST_F(Places, I21_all_descriptors_are_closed) {
  EXPECT_EQ(run({"descriptors_closed"}),
            (Lines{"task 42", "the same worker", "long 1048577", "two 2", "closed of the program's 0"}));
}
TEST_F(Places, I21_a_library_fakes_time) { EXPECT_EQ(run({"clock_stands"}), (Lines{"timed out", "waited"})); }
TEST_F(Places, I21_started_through_the_loader) {
  const std::string loader = "/lib64/ld-linux-x86-64.so.2";
  if (::access(loader.c_str(), X_OK) != 0) GTEST_SKIP() << "no loader at " << loader;
  if (::chdir(child_path("").c_str()) != 0) FAIL() << "no folder of children";
  EXPECT_EQ(run({"./test_places_program", "crash_elsewhere"}, loader), Lines{"blamed die_here"});
}

TEST_F(Places, I22_workers_start_as_children_of_the_program_as_it_is) {
  EXPECT_EQ(run({"thread_properties"}), (Lines{"as the program", "told right"}));
}

}  // namespace
