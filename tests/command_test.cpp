// The command `yoke`: what it calls, what it prints, how it fails. Its life is in command_life_test.cpp.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/command.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using Json = nlohmann::json;
using testing::Test;

const std::string tasks = TEST_TASKS;  // a library with many tasks

std::vector<std::string> yoke_map(const std::string& task, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{YOKE_COMMAND, "map", task.empty() ? tasks : tasks + ":" + task};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}
Ended map_of(const std::string& task, const std::vector<std::string>& more, const std::string& input = {}) {
  return run(yoke_map(task, more), input);
}
std::vector<Json> results_of(const Ended& ended) {
  std::vector<Json> results;
  for (const auto& line : lines_of(ended.out)) results.push_back(Json::parse(line));
  return results;
}
bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
#define EXPECT_HOLDS(text, part) EXPECT_TRUE(holds(text, part)) << "'" << (part) << "' is not in: " << (text)

class CommandTest : public HouseTest {
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
  std::filesystem::path folder;
};

TEST_F(CommandTest, results_are_lines_of_json_in_the_order_of_the_inputs) {
  const auto ended = map_of("reversed", {"abc", "", "x y"});
  EXPECT_EQ(ended.out,
            "{\"input\":\"abc\",\"value\":\"cba\"}\n"
            "{\"input\":\"\",\"value\":\"\"}\n"
            "{\"input\":\"x y\",\"value\":\"y x\"}\n");
  EXPECT_EQ(ended.err, "");
  EXPECT_EQ(ended.status, 0);
}

TEST_F(CommandTest, without_arguments_the_lines_of_stdin_are_the_inputs) {
  const auto ended = map_of("length", {}, "a\n\nccc\nthe last has no newline");
  std::vector<int> lengths;
  for (const auto& result : results_of(ended)) lengths.push_back(result["value"]);
  EXPECT_EQ(lengths, (std::vector<int>{1, 0, 3, 23}));
  EXPECT_EQ(ended.status, 0);
}

TEST_F(CommandTest, no_input_is_no_result) {
  const auto ended = map_of("length", {}, "");
  EXPECT_EQ(ended.out + ended.err, "");
  EXPECT_EQ(ended.status, 0);
}

TEST_F(CommandTest, unordered_and_chunked_give_the_same_results_in_any_order) {
  std::string input;
  std::vector<std::string> expected;
  for (int i = 0; i < 1000; ++i) {
    input += std::to_string(i) + "\n";
    expected.push_back("{\"input\":\"" + std::to_string(i) + "\",\"value\":\"" + std::to_string(i) + "\"}");
  }
  EXPECT_EQ(lines_of(map_of("echo", {"--chunksize", "7"}, input).out), expected);
  std::sort(expected.begin(), expected.end());
  for (const auto& options : {std::vector<std::string>{"--unordered"}, {"--unordered", "--chunksize", "7"}}) {
    auto lines = lines_of(map_of("echo", options, input).out);
    std::sort(lines.begin(), lines.end());
    EXPECT_EQ(lines, expected);
  }
}

TEST_F(CommandTest, json_inputs_carry_all_arguments_and_keep_their_kinds) {
  EXPECT_EQ(map_of("add", {"--json-input", "[1, 2]", "[-5,5]"}).out,
            "{\"input\":[1,2],\"value\":3}\n{\"input\":[-5,5],\"value\":0}\n");
  EXPECT_EQ(map_of("half", {"--json-input", "3"}).out, "{\"input\":3,\"value\":1.5}\n");
  EXPECT_EQ(map_of("negate", {"--json-input"}, "true\n\nfalse\n").out,
            "{\"input\":true,\"value\":false}\n{\"input\":false,\"value\":true}\n");
  EXPECT_EQ(map_of("one_more", {"--json-input", "{\"a\": 1}"}).out, "{\"input\":{\"a\":1},\"value\":{\"a\":2}}\n");
  EXPECT_EQ(map_of("nothing", {"--json-input", "\"x\""}).out, "{\"input\":\"x\",\"value\":null}\n");
  EXPECT_EQ(map_of("infinite", {"--json-input", "[]"}).out, "{\"input\":[],\"value\":null}\n");
}

TEST_F(CommandTest, a_float_is_not_taken_for_an_integer) {
  const auto ended = map_of("add", {"--json-input", "[1, 2.0]"});
  EXPECT_EQ(results_of(ended).at(0)["error"]["type"], "yoke::SerializationError");
  EXPECT_EQ(ended.status, 1);
}

TEST_F(CommandTest, a_wrong_number_of_arguments_fails_that_input_alone) {
  const auto ended = map_of("add", {"--json-input", "[1]", "7", "[1,2]"});
  auto results = results_of(ended);
  EXPECT_HOLDS(results.at(0)["error"]["message"].get<std::string>(), "add takes 2 arguments");
  EXPECT_HOLDS(results.at(1)["error"]["message"].get<std::string>(), "add takes 2 arguments");
  EXPECT_EQ(results.at(2)["value"], 3);
  EXPECT_EQ(ended.status, 1);
}

TEST_F(CommandTest, bytes_that_are_not_utf8_are_replaced) {
  const auto ended = map_of("echo", {}, "a\xff\x80z\n");
  EXPECT_EQ(ended.out, "{\"input\":\"a\xef\xbf\xbd\xef\xbf\xbdz\",\"value\":\"a\xef\xbf\xbd\xef\xbf\xbdz\"}\n");
  EXPECT_EQ(map_of("length", {}, "a\xff\x80z\n").out, "{\"input\":\"a\xef\xbf\xbd\xef\xbf\xbdz\",\"value\":4}\n");
}

TEST_F(CommandTest, an_exception_is_the_error_of_its_input) {
  for (const auto& chunksize : {"1", "10"}) {
    const auto ended = map_of("not_when_bad", {"good", "bad", "fine", "nested", "--chunksize", chunksize});
    auto results = results_of(ended);
    EXPECT_EQ(results.at(0)["value"], "good");
    EXPECT_EQ(results.at(1),
              Json::parse(R"({"input":"bad","error":{"type":"std::invalid_argument","message":"this one is bad"}})"));
    EXPECT_EQ(results.at(2)["value"], "fine");
    EXPECT_EQ(results.at(3)["error"]["type"], "std::logic_error");
    EXPECT_EQ(results.at(3)["error"]["nested"]["message"], "the reason");
    EXPECT_HOLDS(ended.err, "yoke map: 2 of 4 inputs failed\n  argument 2: std::invalid_argument: this one is bad\n");
    EXPECT_EQ(ended.status, 1);
  }
}

TEST_F(CommandTest, many_failures_are_named_up_to_a_number) {
  std::string input;
  for (int i = 0; i < 15; ++i) input += "bad\n";
  const auto ended = map_of("not_when_bad", {}, input);
  EXPECT_EQ(results_of(ended).size(), 15U);
  EXPECT_HOLDS(ended.err, "15 of 15 inputs failed\n  line 1: ");
  EXPECT_HOLDS(ended.err, "\n  and 5 more\n");
}

TEST_F(CommandTest, a_crash_costs_its_input_and_tells_where_it_was) {
  const auto ended = map_of("crash_when_told", {"a", "crash", "b"});
  auto results = results_of(ended);
  EXPECT_EQ(results.at(0)["value"], "a1");
  EXPECT_EQ(results.at(2)["value"], "b1");
  Json error = results.at(1)["error"];
  EXPECT_EQ(error["type"], "yoke::TerminatedWorkerError");
  if (!sanitized) {
    EXPECT_EQ(error["cause"]["signal"], "SIGSEGV");
    EXPECT_EQ(error["cause"]["address"], "0x4");
    EXPECT_HOLDS(error["cause"]["function"].get<std::string>(), "value_of");
    EXPECT_GT(error["cause"]["line"], 0);
    EXPECT_FALSE(error["cause"]["frames"].empty());
  }
  EXPECT_EQ(error["cause"]["task"], "crash_when_told");
  EXPECT_EQ(ended.status, 1);
}

TEST_F(CommandTest, R10_results_are_the_same_on_other_hosts) {
  const std::vector<std::string> inputs{"a", "bb", "ccc", "dddd"};
  const auto here = map_of("length", inputs);
  auto there = inputs;
  there.insert(there.end(), {"--on", "local", "--on", "command:{agent}", "--jobs", "1"});
  const auto remote = map_of("length", there);
  EXPECT_EQ(remote.status, 0) << remote.err;
  EXPECT_EQ(remote.out, here.out);
  EXPECT_EQ(remote.err, "");
}

TEST_F(CommandTest, R10_a_crash_on_another_host_names_it) {
  const auto ended = map_of("crash_when_told", {"crash", "--on", "local"});
  EXPECT_EQ(ended.status, 1);
  const auto results = results_of(ended);
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0]["error"]["cause"]["host"], "local");
}

TEST_F(CommandTest, R10_options_hold_on_other_hosts) {
  const auto far = [](const std::string& task, std::vector<std::string> more, const std::string& input = {}) {
    more.insert(more.end(), {"--on", "local", "--on", "command:env {agent}"});
    return map_of(task, more, input);
  };
  EXPECT_EQ(results_of(far("variable", {"--env", "YOKE_TEST_A=x=y", "YOKE_TEST_A"})).at(0)["value"], "x=y");
  EXPECT_EQ(results_of(far("die_once", {folder / "a"})).at(0)["error"]["cause"]["exit_code"], 3);
  EXPECT_EQ(results_of(far("die_once", {folder / "b", "--retries", "1"})).at(0)["value"], "alive");
  const auto late = results_of(far("hang_when_told", {"hang", "on", "--timeout", "0.05"}));
  EXPECT_EQ(late.at(0)["error"]["type"], "yoke::TimeoutError");
  EXPECT_EQ(late.at(1)["value"], "on");
  EXPECT_EQ(far("add", {"--json-input", "[1, 2]"}).out, "{\"input\":[1,2],\"value\":3}\n");

  std::string input;
  for (int i = 0; i < 1000; ++i) input += std::to_string(i) + "\n";
  const std::string here = map_of("echo", {}, input).out;
  EXPECT_EQ(far("echo", {}, input).out, here);
  EXPECT_EQ(far("echo", {"--chunksize", "7"}, input).out, here);
  auto expected = lines_of(here);
  auto lines = lines_of(far("echo", {"--unordered", "--chunksize", "7"}, input).out);
  std::sort(expected.begin(), expected.end());
  std::sort(lines.begin(), lines.end());
  EXPECT_EQ(lines, expected);
}

TEST_F(CommandTest, R10_jobs_are_for_each_host) {
  constexpr std::size_t running = 6;
  std::vector<std::string> arguments{"--on", "local", "--on", "local", "--jobs", "3"};
  std::vector<std::string> gates;
  for (std::size_t i = 0; i <= running; ++i) {
    gates.push_back(folder / ("gate" + std::to_string(i)));
    ASSERT_EQ(::mkfifo(gates.back().c_str(), 0600), 0);
  }
  arguments.insert(arguments.end(), gates.begin(), gates.end());
  Command command(yoke_map("wait_for_gate", arguments));
  command.start();
  std::vector<std::ofstream> held;
  for (std::size_t i = 0; i < running; ++i) held.emplace_back(gates[i]);  // opens when the task reads from it
  const int too_early = ::open(gates[running].c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  EXPECT_EQ(too_early, -1) << "more tasks at a time than two hosts with three workers each can run";
  EXPECT_EQ(errno, ENXIO);
  if (too_early >= 0) ::close(too_early);
  held.clear();
  if (too_early < 0) std::ofstream(gates[running]).close();
  const auto ended = command.wait();
  EXPECT_EQ(ended.status, 0) << ended.err;
  EXPECT_EQ(results_of(ended).size(), gates.size());
}

TEST_F(CommandTest, R10_what_workers_print_on_other_hosts_goes_to_stderr) {
  const auto ended =
      map_of("tell_and_hang", {"/dev/stdout", "/dev/stderr", "--timeout", "0.2", "--on", "local", "--jobs", "1"});
  EXPECT_EQ(results_of(ended).size(), 2U);  // and nothing else that would not be JSON
  const auto lines = lines_of(ended.err);
  const auto is_workers = [](const std::string& line) { return line.starts_with("local/0: "); };
  EXPECT_EQ(std::ranges::count_if(lines, is_workers), 2) << ended.err;
}

/// With what a terminal obeys: controls of both sets, DEL, a turn of direction.
const std::string hostile =
    "red\x1b[31m \x07\x7f \xc2\x9b"
    "2J \xe2\x80\xae end";
bool is_harmless(const std::string& text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= ' ' ? c != 0x7f : c == '\n' || c == '\t'; }) &&
         !holds(text, "\xc2\x9b") && !holds(text, "\xe2\x80\xae");
}

TEST_F(CommandTest, U9_words_of_workers_reach_no_terminal_raw) {
  const auto refused = map_of("refuse", {}, hostile + '\n');
  EXPECT_EQ(results_of(refused).at(0)["input"], hostile);
  EXPECT_HOLDS(refused.err, "std::runtime_error: red\\x1b[31m \\x07\\u007f \\u009b2J \\u202e end\n");
  const auto echoed = map_of("echo", {}, hostile + '\n');
  EXPECT_EQ(results_of(echoed).at(0)["value"], hostile);
  const auto printed = map_of("print", {"--on", "local", "--jobs", "1"}, hostile + '\n');
  EXPECT_HOLDS(printed.err, "local/0: red\\x1b[31m \\x07\\u007f \\u009b2J \\u202e end\n");
  const auto stillborn =
      map_of("echo", {"a", "--on", "command:sh -c 'printf \"\\033[31mred\\033[0m\" >&2; false' {agent}"});
  EXPECT_HOLDS(results_of(stillborn).at(0)["error"]["message"].get<std::string>(), "\\x1b[31mred\\x1b[0m");
  for (const auto& ended : {refused, echoed, printed, stillborn}) {
    EXPECT_TRUE(is_harmless(ended.err)) << ended.err;
    EXPECT_TRUE(is_harmless(ended.out)) << ended.out;
  }
}

TEST_F(CommandTest, R10_a_library_that_a_host_lacks_is_sent_if_that_was_asked_for) {
  const auto library = folder / "tasks.so";
  std::filesystem::copy_file(tasks, library);
  const std::string file = library.string();
  const std::string lacking = "command:env -u XDG_CACHE_HOME HOME=" + folder.string() + " sh -c 'mv " + file + " " +
                              file + ".gone; exec \"$@\"' sh {agent}";
  const auto fails = run({YOKE_COMMAND, "map", file + ":length", "abc", "--on", lacking});
  EXPECT_HOLDS(fails.out, "\"error\"");
  EXPECT_EQ(fails.status, 1);
  std::filesystem::rename(file + ".gone", file);
  const auto ended = run({YOKE_COMMAND, "map", file + ":length", "abc", "--on", lacking, "--deploy"});
  EXPECT_EQ(ended.out, "{\"input\":\"abc\",\"value\":3}\n") << ended.err;
  EXPECT_EQ(ended.status, 0);
}

TEST_F(CommandTest, R12_the_pools_error_is_told_once_and_whole) {
  const auto ended = map_of("length", {"a", "b", "c", "d", "--on", "command:sh -c 'exit 127; {agent_command}'"});
  EXPECT_EQ(ended.status, 1);
  EXPECT_HOLDS(ended.err, "4 of 4 inputs failed");
  EXPECT_HOLDS(ended.err, "ended with exit code 127");
  const std::size_t first = ended.err.find("no host can be used");
  EXPECT_NE(first, std::string::npos) << ended.err;
  EXPECT_EQ(ended.err.find("no host can be used", first + 1), std::string::npos) << ended.err;
}

TEST_F(CommandTest, R12_a_host_that_cannot_serve_is_told_once) {
  const auto ended =
      map_of("length", {"a", "bb", "--on", "local", "--on", "command:sh -c 'exit 127; {agent_command}'"});
  EXPECT_EQ(ended.status, 0) << ended.err;
  const std::size_t first = ended.err.find("host sh: ");
  EXPECT_NE(first, std::string::npos) << ended.err;
  EXPECT_EQ(ended.err.find("host sh: ", first + 1), std::string::npos) << ended.err;
}

TEST_F(CommandTest, R12_a_memory_limit_is_taken_or_refused) {
  EXPECT_EQ(map_of("length", {"abc", "--max-memory", "800M"}).status, 0);
  for (const char* wrong : {"0", "x", "3Q", "5MB", "99999999T", ""}) {
    const auto ended = map_of("length", {"abc", "--max-memory", wrong});
    EXPECT_EQ(ended.status, 2) << wrong;
    EXPECT_HOLDS(ended.err, "--max-memory needs a size like 800M or 2G");
  }
}

TEST_F(CommandTest, R12_a_worker_above_the_memory_limit_is_killed) {
  const auto ended = map_of("fill_memory", {"a", "fill", "b", "--max-memory", "200M", "-j", "2"});
  EXPECT_EQ(ended.status, 1) << ended.err;
  EXPECT_HOLDS(ended.err, "1 of 3 inputs failed");
  EXPECT_HOLDS(ended.out, "{\"input\":\"a\",\"value\":\"a\"}\n");
  EXPECT_HOLDS(ended.out, "{\"input\":\"b\",\"value\":\"b\"}\n");
  EXPECT_HOLDS(ended.out, "more than max_worker_memory allows (209.7 MB), and was killed");
}

TEST_F(CommandTest, R10_places_that_cannot_be_used_are_told) {
  const auto refused = [](const std::vector<std::string>& arguments) {
    const auto ended = map_of("length", arguments);
    EXPECT_EQ(ended.status, 2) << ended.err;
    EXPECT_EQ(ended.out, "");
    return ended.err;
  };
  EXPECT_HOLDS(refused({"x", "--on", "nowhere:y"}), "--on: 'nowhere:y' is no place for workers");
  EXPECT_HOLDS(refused({"x", "--on", ""}), "'' is no place for workers");
  EXPECT_HOLDS(refused({"x", "--on", "local", "--on", "ssh:a,,b"}), "nothing between two commas in 'a,,b'");
  EXPECT_HOLDS(refused({"x", "--on", "slurm:nodes=none"}), "slurm:nodes needs a number");
  EXPECT_HOLDS(refused({"x", "--on", "command:cat"}), "has neither {agent}");
  EXPECT_HOLDS(refused({"x", "--deploy"}), "--deploy needs --on");
  const auto fails = map_of("length", {"x", "--on", "command:false {agent}"});
  EXPECT_EQ(fails.status, 1);
  EXPECT_HOLDS(fails.err, "no host can be used: host false: the stream ended");
  EXPECT_HOLDS(fails.out, "ended with exit code 1");
  const auto one_fails = map_of("length", {"x", "yy", "--on", "command:false {agent}", "--on", "local"});
  EXPECT_EQ(one_fails.status, 0) << one_fails.err;
  EXPECT_EQ(one_fails.out, map_of("length", {"x", "yy"}).out);
}

TEST_F(CommandTest, a_call_is_repeated_when_its_worker_died_and_that_was_asked_for) {
  const auto once = map_of("die_once", {folder / "a"});
  EXPECT_EQ(results_of(once).at(0)["error"]["cause"]["exit_code"], 3);
  const auto twice = map_of("die_once", {folder / "b", "--retries", "1"});
  EXPECT_EQ(results_of(twice).at(0)["value"], "alive");
  EXPECT_EQ(twice.status, 0);
}

TEST_F(CommandTest, a_call_that_takes_too_long_is_ended) {
  const auto ended = map_of("hang_when_told", {"hang", "--timeout", "0.05"});
  EXPECT_EQ(results_of(ended).at(0)["error"]["type"], "yoke::TimeoutError");
  EXPECT_EQ(ended.status, 1);
}

TEST_F(CommandTest, variables_reach_the_workers) {
  const auto ended =
      map_of("variable", {"--env", "YOKE_TEST_A=1", "--env", "YOKE_TEST_B=x=y", "YOKE_TEST_A", "YOKE_TEST_B"});
  EXPECT_EQ(results_of(ended).at(0)["value"], "1");
  EXPECT_EQ(results_of(ended).at(1)["value"], "x=y");
}

TEST_F(CommandTest, the_task_may_be_left_out_if_there_is_only_one) {
  EXPECT_EQ(run({YOKE_COMMAND, "map", ONE_TASK, "abc"}).out, "{\"input\":\"abc\",\"value\":3}\n");
  const auto ended = map_of("", {"abc"});
  EXPECT_HOLDS(ended.err, "say which");
  EXPECT_HOLDS(ended.err, "int add(int, int)");
  EXPECT_EQ(ended.status, 2);
}

TEST_F(CommandTest, a_library_may_have_a_colon_in_its_name) {
  const auto copy = folder / "a:b.so";
  std::filesystem::copy_file(ONE_TASK, copy);
  EXPECT_EQ(run({YOKE_COMMAND, "map", copy, "abc"}).out, "{\"input\":\"abc\",\"value\":3}\n");
  EXPECT_EQ(run({YOKE_COMMAND, "map", copy.string() + ":length", "abc"}).out, "{\"input\":\"abc\",\"value\":3}\n");
}

TEST_F(CommandTest, a_library_that_cannot_be_used_is_told_apart) {
  const auto said = [](const std::string& library) {
    const auto ended = run({YOKE_COMMAND, "map", library, "x"});
    EXPECT_EQ(ended.status, 2) << ended.err;
    EXPECT_EQ(ended.out, "");
    return ended.err;
  };
  EXPECT_HOLDS(said("/nowhere/libnothing.so"), "No such file");
  EXPECT_HOLDS(said("libnothing-of-this-name.so"), "there is no task library");
  EXPECT_HOLDS(said(__FILE__), "cannot load");
  EXPECT_HOLDS(said("/"), "folder");
  EXPECT_HOLDS(said(tasks + ":nope"), "has no task 'nope'");
  EXPECT_HOLDS(said(OTHER_VERSION), "99.1.2");
  EXPECT_HOLDS(said(OTHER_VERSION), YOKE_VERSION);
}

TEST_F(CommandTest, I17_json_that_nests_too_deep_is_named) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  const auto ended = map_of("half", {"--json-input"}, "1\n" + deep + "\n3\n");
  EXPECT_EQ(ended.status, 2);
  EXPECT_HOLDS(ended.err, "is not valid JSON");
  EXPECT_HOLDS(ended.err, "nests deeper than 500");
}

TEST_F(CommandTest, invalid_json_is_named_and_what_came_before_is_kept) {
  const auto ended = map_of("half", {"--json-input"}, "1\n3\n{oops\n5\n");
  EXPECT_EQ(results_of(ended).size(), 2U);
  EXPECT_HOLDS(ended.err, "line 3 is not valid JSON");
  EXPECT_EQ(ended.status, 2);
  EXPECT_HOLDS(map_of("half", {"--json-input", "1", "1e999"}).err, "argument 2 is not valid JSON");
}

TEST_F(CommandTest, a_wrong_command_line_is_refused_with_a_sentence) {
  const auto refused = [](const std::vector<std::string>& arguments) {
    const auto ended = map_of("echo", arguments);
    EXPECT_EQ(ended.status, 2) << ended.err;
    EXPECT_EQ(ended.out, "");
    return ended.err;
  };
  EXPECT_HOLDS(refused({"--jobs", "0", "x"}), "--jobs");
  EXPECT_HOLDS(refused({"--jobs", "many", "x"}), "--jobs");
  EXPECT_HOLDS(refused({"--timeout", "0", "x"}), "--timeout");
  EXPECT_HOLDS(refused({"--timeout", "nan", "x"}), "--timeout");
  EXPECT_HOLDS(refused({"--retries", "-1", "x"}), "--retries");
  EXPECT_HOLDS(refused({"--chunksize", "0", "x"}), "--chunksize");
  EXPECT_HOLDS(refused({"--env", "NOVALUE", "x"}), "NAME=VALUE");
  EXPECT_HOLDS(refused({"--nonsense", "x"}), "--nonsense");
  EXPECT_HOLDS(map_of("add", {"1"}).err, "--json-input");
  EXPECT_HOLDS(run({YOKE_COMMAND, "dance"}).err, "no command 'dance'");
  EXPECT_EQ(run({YOKE_COMMAND}).status, 2);
}

TEST_F(CommandTest, a_word_for_a_number_leads_to_json_input) {
  const auto ended = map_of("half", {"4"});
  EXPECT_HOLDS(results_of(ended).at(0)["error"]["message"].get<std::string>(), "--json-input");
  EXPECT_EQ(ended.status, 1);
}

TEST_F(CommandTest, tasks_lists_names_and_signatures) {
  const auto ended = run({YOKE_COMMAND, "tasks", tasks});
  EXPECT_HOLDS(ended.out, "length\tunsigned long length(std::string const&)\n");
  EXPECT_EQ(ended.status, 0);
}

TEST_F(CommandTest, hello_doctor_and_version_have_something_to_say) {
  EXPECT_HOLDS(run({YOKE_COMMAND, "hello"}).out, "worker    pid ");
  EXPECT_EQ(run({YOKE_COMMAND, "--version"}).out, std::string("yoke ") + YOKE_VERSION + "\n");
  const auto doctor = run({YOKE_COMMAND, "doctor", "--json"});
  EXPECT_EQ(doctor.status, 0) << doctor.out;
  EXPECT_TRUE(Json::parse(doctor.out)["can_run"]);
  EXPECT_HOLDS(run({YOKE_COMMAND, "doctor"}).out, "memfd_create");
  for (const auto& command : {"map", "tasks", "hello", "doctor"})
    EXPECT_EQ(run({YOKE_COMMAND, command, "--help"}).status, 0);
}

}  // namespace
