// The life of `yoke map`: inputs and results as they come, signals, readers that go, and the bar.
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/command.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using yoke::system::UniqueFd;

std::string task(const std::string& name) { return std::string(TEST_TASKS) + ":" + name; }
bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class CommandLifeTest : public HouseTest {
 protected:
  void SetUp() override {
    HouseTest::SetUp();
    std::string pattern = std::filesystem::temp_directory_path() / "yoke-command-test-XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  void TearDown() override {
    std::filesystem::remove_all(folder);
    HouseTest::TearDown();
  }
  std::string fifo(const std::string& name) const {
    const std::string path = folder / name;
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    return path;
  }
  std::filesystem::path folder;
};

TEST_F(CommandLifeTest, results_come_while_more_input_is_awaited) {
  for (const auto& chunksize : {"1", "100"}) {
    Command command({YOKE_COMMAND, "map", task("length"), "--chunksize", chunksize});
    command.start();
    for (const std::string line : {"a", "bb", "ccc"}) {
      command.write_input(line + "\n");
      EXPECT_EQ(command.read_line(), "{\"input\":\"" + line + "\",\"value\":" + std::to_string(line.size()) + "}");
    }
    command.close_input();
    EXPECT_EQ(command.wait().status, 0);
  }
}

TEST_F(CommandLifeTest, endless_input_works_until_the_reader_goes) {
  for (const std::string options : {"", "--unordered", "--chunksize 50"}) {
    const auto ended =
        run({"bash", "-c",
             "yes | '" YOKE_COMMAND "' map '" + task("echo") + "' " + options + " | head -n 3; echo ${PIPESTATUS[1]}"});
    const std::string line = "{\"input\":\"y\",\"value\":\"y\"}\n";
    EXPECT_EQ(ended.out, line + line + line + "141\n");  // SIGPIPE
    EXPECT_EQ(ended.err, "");
  }
}

TEST_F(CommandLifeTest, it_stops_when_the_reader_goes_even_if_no_result_is_due) {
  Command command({YOKE_COMMAND, "map", task("tell_and_hang"), fifo("told")});
  command.start();
  std::ifstream told(folder / "told");
  std::string pid;
  std::getline(told, pid);  // the task has begun
  command.close_output();
  EXPECT_EQ(command.wait().status, 128 + SIGPIPE);
}

TEST_F(CommandLifeTest, a_closed_stdout_is_a_failure_without_a_word) {
  Command command({YOKE_COMMAND, "map", task("echo"), "a"});
  command.close_stdout();
  command.start();
  const auto ended = command.wait();
  EXPECT_NE(ended.status, 0);
  EXPECT_EQ(ended.err, "");
}

TEST_F(CommandLifeTest, a_full_disk_is_a_failure_with_a_sentence) {
  const auto ended = run({"bash", "-c", "'" YOKE_COMMAND "' map '" + task("echo") + "' a >/dev/full"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(holds(ended.err, "cannot write the results")) << ended.err;
}

TEST_F(CommandLifeTest, unreadable_input_is_told) {
  for (const std::string from : {"</", "<&-"}) {
    const auto ended = run({"bash", "-c", "'" YOKE_COMMAND "' map '" + task("echo") + "' " + from});
    EXPECT_EQ(ended.status, 2);
    EXPECT_TRUE(holds(ended.err, "cannot read the inputs")) << ended.err;
  }
}

TEST_F(CommandLifeTest, a_signal_ends_it_and_its_workers_at_once) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto path = fifo("told" + std::to_string(signal));
    Command command({YOKE_COMMAND, "map", "--jobs", "2", task("tell_and_hang"), path, path, path});
    command.start();
    std::ifstream told(path);  // open until the end: the other worker writes to it, too
    std::string pid;
    std::getline(told, pid);  // a task has begun
    ::kill(command.pid(), signal);
    const auto ended = command.wait();
    EXPECT_EQ(ended.status, 128 + signal);
    EXPECT_TRUE(holds(ended.err, "0 inputs done, 3 given up")) << ended.err;
    EXPECT_EQ(ended.out, "");
    EXPECT_NE(::kill(std::stoi(pid), 0), 0) << "the worker is still there";
  }
}

TEST_F(CommandLifeTest, R10_a_signal_ends_workers_on_other_hosts) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto path = fifo("told" + std::to_string(signal));
    Command command({YOKE_COMMAND, "map", "--on", "local", "--on", "command:{agent}", "--jobs", "1",
                     task("tell_and_hang"), path, path, path});
    command.start();
    std::ifstream told(path);
    std::string pid;
    std::getline(told, pid);
    ::kill(command.pid(), signal);
    const auto ended = command.wait();
    EXPECT_EQ(ended.status, 128 + signal);
    EXPECT_TRUE(holds(ended.err, "0 inputs done, 3 given up")) << ended.err;
    EXPECT_NE(::kill(std::stoi(pid), 0), 0) << "the worker is still there";
  }
}

TEST_F(CommandLifeTest, R10_a_signal_ends_it_while_a_host_starts) {
  const auto path = fifo("told");
  const std::string silent = "command:sh -c 'echo $$ > " + path + "; exec sleep 60' {agent}";
  Command command({YOKE_COMMAND, "map", task("echo"), "a", "--on", silent});
  command.start();
  std::ifstream told(path);
  std::string pid;
  std::getline(told, pid);
  ::kill(command.pid(), SIGTERM);
  const auto ended = command.wait();
  EXPECT_EQ(ended.status, 128 + SIGTERM);
  EXPECT_TRUE(holds(ended.err, "0 inputs done, 1 given up")) << ended.err;
  EXPECT_NE(::kill(std::stoi(pid), 0), 0) << "the launcher is still there";
}

TEST_F(CommandLifeTest, R10_endless_input_works_on_other_hosts_until_the_reader_goes) {
  const auto ended =
      run({"bash", "-c",
           "yes | '" YOKE_COMMAND "' map '" + task("echo") + "' --on local | head -n 3; echo ${PIPESTATUS[1]}"});
  const std::string line = "{\"input\":\"y\",\"value\":\"y\"}\n";
  EXPECT_EQ(ended.out, line + line + line + "141\n");  // SIGPIPE
  EXPECT_EQ(ended.err, "");
}

TEST_F(CommandLifeTest, results_that_were_there_before_a_signal_are_kept) {
  Command command({YOKE_COMMAND, "map", task("length")});
  command.start();
  command.write_input("abc\n");
  EXPECT_EQ(command.read_line(), "{\"input\":\"abc\",\"value\":3}");
  ::kill(command.pid(), SIGTERM);
  const auto ended = command.wait();
  EXPECT_EQ(ended.status, 143);
  EXPECT_TRUE(holds(ended.err, "1 inputs done, 0 given up")) << ended.err;
}

TEST_F(CommandLifeTest, a_terminal_gets_a_bar_that_is_wiped_at_the_end) {
  int master = -1;
  int terminal = -1;
  winsize size{24, 40, 0, 0};
  ASSERT_EQ(::openpty(&master, &terminal, nullptr, nullptr, &size), 0);
  const UniqueFd ours(master);
  UniqueFd theirs(terminal);
  const auto gate = fifo("gate");
  Command command({YOKE_COMMAND, "map", task("wait_for_gate"), gate});
  command.stderr_is(theirs.get());
  command.start();
  theirs.reset();

  std::string shown;
  const auto read_on = [&] {
    std::array<char, 256> part{};
    const ssize_t got = ::read(ours.get(), part.data(), part.size());
    if (got > 0) shown.append(part.data(), static_cast<std::size_t>(got));
    return got > 0;
  };
  while (!holds(shown, "\x1b[K") && read_on()) {
  }
  EXPECT_TRUE(holds(shown, "0 of 1 done")) << shown;
  EXPECT_LT(shown.find("\x1b[K"), 41U) << "wider than the terminal";
  std::ofstream(gate).close();
  while (read_on()) {
  }
  EXPECT_TRUE(shown.ends_with("\r\x1b[K")) << shown;
  EXPECT_EQ(command.wait().out, "{\"input\":\"" + gate + "\",\"value\":\"open\"}\n");
}

TEST_F(CommandLifeTest, no_terminal_no_bar) {
  EXPECT_EQ(run({YOKE_COMMAND, "map", task("echo"), "a"}).err, "");
  EXPECT_EQ(run({YOKE_COMMAND, "map", task("echo"), "a", "--no-progress"}).err, "");
}

}  // namespace
