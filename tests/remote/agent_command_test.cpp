// How agents are started: quoting, templates, places and options.
#include "lib/remote/agent_command.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace yoke::remote {
namespace {

TEST(Launchers, arguments_are_quoted_for_a_shell_where_they_need_it) {
  EXPECT_EQ(quote(std::string_view("/usr/bin/a-b_c")), "/usr/bin/a-b_c");
  EXPECT_EQ(quote(std::string_view("it's $HOME")), "'it'\\''s $HOME'");
  EXPECT_EQ(quote(std::string_view("")), "''");
}

TEST(Launchers, placeholders_are_filled_in) {
  const std::vector<std::string> agent{"env", "A=1", "/a b"};
  EXPECT_EQ(fill_in({"run", "--on={host}", "{agent}"}, "n1", agent),
            (std::vector<std::string>{"run", "--on=n1", "env", "A=1", "/a b"}));
  EXPECT_EQ(fill_in({"ssh", "{host}", "exec {agent_command}"}, "n1", agent),
            (std::vector<std::string>{"ssh", "n1", "exec env A=1 '/a b'"}));
  EXPECT_THROW(fill_in({"ssh", "{host}"}, "n1", agent), std::invalid_argument);
}

TEST(Launchers, a_program_that_was_replaced_is_at_its_path) {
  EXPECT_EQ(path_of_program("/opt/app/far"), "/opt/app/far");
  EXPECT_EQ(path_of_program("/opt/app/far (deleted)"), "/opt/app/far");
  const auto folder = std::filesystem::temp_directory_path() / ("yoke-program-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const std::string odd = folder / "odd (deleted)";  // by its own name
  std::ofstream(odd).put('x');
  EXPECT_EQ(path_of_program(odd), odd);
  std::filesystem::remove_all(folder);
}

TEST(Launchers, places_of_the_command_line) {
  RemoteOptions options;
  add_hosts(options, "ssh:a,b");
  add_hosts(options, "local");
  add_hosts(options, "command:podman run -i 'my image' {agent}");
  add_hosts(options, "slurm:nodes=3,partition=debug,time=10");
  ASSERT_EQ(options.hosts.size(), 4U);
  EXPECT_EQ(options.hosts[1].name, "b");
  EXPECT_EQ(options.hosts[3].launcher, (Launcher{"podman", "run", "-i", "my image", "{agent}"}));
  EXPECT_EQ(options.slurm->nodes, 3);
  EXPECT_EQ(options.slurm->partition, "debug");
  EXPECT_EQ(options.slurm->arguments, std::vector<std::string>{"--time=10"});
  for (const char* wrong :
       {"", "ssh:", "ssh:a,,b", "nowhere:x", "local:x", "command:", "command:'open", "slurm:nodes=0",
        "slurm:"
        "nodes=many"})
    EXPECT_THROW(add_hosts(options, wrong), std::invalid_argument) << wrong;
}

TEST(Launchers, options_that_make_no_sense_are_refused) {
  const auto refused = [](const RemoteOptions& options) {
    try {
      RemotePool pool(options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refused({}), "");
  EXPECT_NE(refused({.hosts = {{""}}}), "");
  EXPECT_NE(refused({.hosts = {{"-oProxyCommand=x"}}}), "");
  EXPECT_NE(refused({.hosts = {{"a", {"ssh", "{host}"}}}}), "");
  EXPECT_NE(refused({.hosts = {{"a", launchers::local(), 0}}}), "");
  EXPECT_NE(refused({.hosts = {{"a"}}, .heartbeat = std::chrono::milliseconds(0)}), "");
  EXPECT_NE(refused({.hosts = {{"a"}}, .lease = std::chrono::milliseconds(1000)}), "");
  EXPECT_EQ(refused({.hosts = {{"a"}}}), "");
}

}  // namespace
}  // namespace yoke::remote
