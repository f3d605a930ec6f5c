// Hosts that are slow, dead, late or turn callers away, as launchers of the shell play them.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/support/pool_fixture.hpp"
#include "yoke/remote.hpp"

namespace yoke_test {
namespace {

using yoke::HostState;

pid_t agent_pid() { return ::getppid(); }

class StartingTest : public HouseTest {
 protected:
  StartingTest() : folder_(std::filesystem::temp_directory_path() / ("yoke-starting-" + std::to_string(::getpid()))) {
    std::filesystem::create_directory(folder_);
  }
  ~StartingTest() override { std::filesystem::remove_all(folder_); }
  void TearDown() override {
    if (executor) shut_down_in_time(*executor);
    executor.reset();
    pool.reset();
    HouseTest::TearDown();
  }

  std::string file(const std::string& name) const { return folder_ / name; }
  void make(const std::string& name) const { std::ofstream(file(name)) << name; }
  static yoke::Host good(const std::string& name) { return {name, yoke::launchers::local(), {}}; }
  static yoke::Host by_shell(const std::string& name, const std::string& script) {
    return {name, {"sh", "-c", script}, {}};
  }
  /// It fails by these words of the shell until the file is there.
  yoke::Host late(const std::string& name, const std::string& failure) const {
    return by_shell(name, "[ ! -e " + file(name) + " ] || exec {agent_command}; " + failure);
  }
  void begin(std::vector<yoke::Host> hosts, yoke::RemoteOptions with = {}) {
    with.hosts = std::move(hosts);
    with.workers_per_host = 1;
    pool = std::make_shared<yoke::RemotePool>(std::move(with));
    executor.emplace(pool);
  }
  yoke::HostInfo host(const std::string& name) const {
    for (const auto& info : pool->hosts())
      if (info.name == name) return info;
    throw std::invalid_argument("there is no host " + name);
  }

  std::shared_ptr<yoke::RemotePool> pool;
  std::optional<yoke::Executor> executor;

 private:
  std::filesystem::path folder_;
};

TEST_F(StartingTest, R13_hosts_that_hang_hold_up_nobody) {
  std::vector<yoke::Host> hosts;
  for (int i = 0; i < 24; ++i)
    hosts.push_back(by_shell("dead" + std::to_string(i), "exec sleep 1000; {agent_command}"));
  for (int i = 0; i < 3; ++i) hosts.push_back(good("good" + std::to_string(i)));
  begin(std::move(hosts));
  EXPECT_EQ(pool->connect(hang_guard, 3), 3);
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  for (const auto& info : pool->hosts())
    EXPECT_EQ(info.state, info.name.starts_with("good") ? HostState::serving : HostState::starting) << info.name;
}

TEST_F(StartingTest, R13_durations_of_any_length) {
  constexpr auto longest = std::chrono::milliseconds::max();
  begin({good("here")}, {.worker = {.restart_budget = {.within = std::chrono::seconds::max()},
                                    .start_timeout = longest,
                                    .kill_grace = longest},
                         .start_timeout = longest,
                         .heartbeat = std::chrono::hours(1),
                         .lease = longest,
                         .reconnect_for = longest});
  EXPECT_EQ(pool->connect(std::chrono::milliseconds::min()), 0);
  EXPECT_EQ(pool->connect(longest, 1), 1);
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
}

TEST_F(StartingTest, R13_a_host_that_failed_at_first_is_tried_again_while_others_serve) {
  begin({good("here"), late("refuses", "exit 255"), late("fails", "echo not today >&2; exit 1"),
         late("dies", "kill -9 $$")});
  EXPECT_EQ(pool->connect(hang_guard, 1), 1);
  for (const char* name : {"refuses", "fails", "dies"})
    wait_until([&] { return !host(name).trouble.empty(); }, "a start that fails");
  EXPECT_NE(host("fails").trouble.find("not today"), std::string::npos) << host("fails").trouble;
  for (const char* name : {"refuses", "fails", "dies"}) make(name);
  EXPECT_EQ(pool->connect(hang_guard, 4), 4);
  for (const auto& info : pool->hosts()) EXPECT_EQ(info.trouble, "") << info.name;
}

TEST_F(StartingTest, R13_none_serves_yet_but_one_may) {
  begin({late("refuses", "exit 255")});
  auto future = executor->submit(add_one, 1);
  wait_until([&] { return !host("refuses").trouble.empty(); }, "a start that fails");
  make("refuses");
  EXPECT_EQ(soon(future).get(), 2);
}

TEST_F(StartingTest, R13_a_start_that_hangs_after_a_loss_does_not_use_up_the_time_for_coming_back) {
  begin({by_shell("here", "if mkdir " + file("first") +
                              " 2>/dev/null; then exec {agent_command}; "
                              "elif mkdir " +
                              file("second") + " 2>/dev/null; then exec sleep 1000; else exec {agent_command}; fi")});
  ::kill(soon(executor->submit(agent_pid)).get(), SIGKILL);  // the first
  wait_until([&] { return std::filesystem::exists(file("second")); }, "the start that hangs");
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);  // by the third
}

TEST_F(StartingTest, R13_a_pool_ends_when_no_host_can_be_hoped_for) {
  yoke::RemoteOptions with;
  with.reconnect_for = 1s;
  with.start_timeout = 300ms;
  begin({by_shell("refuses", "exit 255; {agent_command}"), by_shell("hangs", "exec sleep 1000; {agent_command}")},
        with);
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(executor->submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  const std::string text = error->what();
  EXPECT_NE(text.find("host refuses: the stream ended"), std::string::npos) << text;
  EXPECT_NE(text.find("host hangs: its agent did not speak within 300 ms (start_timeout)"), std::string::npos) << text;
}

TEST_F(StartingTest, R13_a_launcher_that_always_ends_alike_is_believed) {
  begin({by_shell("fails", "exit 3; {agent_command}")});
  EXPECT_TRUE(thrown_by<yoke::BrokenProcessPool>([&] { soon(executor->submit(add_one, 1)).get(); }));
}

TEST_F(StartingTest, R14_options_that_an_older_ssh_does_not_know_are_left_out) {
  const std::string old_ssh =
      "for word; do case $word in StdinNull=*) echo command-line: line 0: Bad configuration option: stdinnull >&2; "
      "exit 255;; "
      "RemoteCommand=*) echo command-line: line 0: Bad configuration option: remotecommand >&2; exit 255;; esac; "
      "last=$word; done; "
      "eval exec $last";
  yoke::Launcher launcher = yoke::launchers::ssh();
  launcher.erase(launcher.begin());
  launcher.insert(launcher.begin(), {"sh", "-c", old_ssh, "ssh"});
  begin({{"old", launcher, {}}, {"too", launcher, {}}});
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
  EXPECT_EQ(pool->connect(hang_guard), 2);
}

TEST_F(StartingTest, R13_what_fails_for_certain_is_not_tried_again) {
  begin({good("here"),
         by_shell("missing", "echo x >>" + file("tries") + "; exec /no/such/program {agent_command}"),
         {"launcherless", {"/no/such/launcher", "{agent}"}, {}}});
  EXPECT_EQ(pool->connect(hang_guard), 1);
  EXPECT_EQ(host("missing").state, HostState::ended);
  EXPECT_EQ(host("launcherless").state, HostState::ended);
  EXPECT_NE(host("launcherless").trouble.find("/no/such/launcher"), std::string::npos) << host("launcherless").trouble;
  EXPECT_EQ(std::filesystem::file_size(file("tries")), 2U);
}

TEST_F(StartingTest, R15_whatever_shell_logs_the_user_in) {
  const std::string name = file("it's a \"$HOME\"\\n `id` #1! & (copy)");  // which shells take for something
  std::filesystem::create_symlink(std::filesystem::read_symlink("/proc/self/exe"), name);
  ::setenv("XDG_CACHE_HOME", file("cache").c_str(), 1);
  int shells = 0;
  for (const char* shell : {"sh", "dash", "bash", "ksh", "mksh", "zsh", "fish", "tcsh", "csh"}) {
    if (std::system((std::string("command -v ") + shell + " >/dev/null").c_str()) != 0) continue;
    ++shells;
    for (const bool deploy : {false, true}) {
      yoke::RemoteOptions with;
      with.program = name;
      with.deploy = deploy;
      begin({{shell, {shell, "-c", "{agent_command}"}, {}}}, with);
      EXPECT_NO_THROW(EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2)) << shell << (deploy ? " deploys" : "");
      executor->shutdown();
    }
  }
  EXPECT_GE(shells, 1);
  ::unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace yoke_test
