// The command `yoke`: its options and help texts.
//
// Exit status: 0 all well; 1 some inputs failed, or something is missing on this machine; 2 the command line, the
// library or the inputs cannot be used; 130 and 143 ended by SIGINT and SIGTERM.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <yoke/version.hpp>

#include "commands.hpp"
#include "standard_streams.hpp"
#include "usage.hpp"

namespace yoke::tools {
namespace {

std::chrono::milliseconds parse_timeout(double seconds) {
  constexpr double longest = 1e9;
  if (!(seconds > 0 && seconds <= longest)) throw UsageError("--timeout needs a number of seconds above 0, like 2.5");
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
}

/// "800M", "2G"; a number alone is bytes.
std::size_t parse_memory(const std::string& text) {
  constexpr std::string_view units = "KMGT";
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::size_t unit = rest.empty() ? 0 : units.find(rest.front()) + 1;  // 0 too where there is none of that name
  const int shift = static_cast<int>(10 * unit);
  if (error != std::errc() || number == 0 || rest.size() > 1 || (!rest.empty() && unit == 0) ||
      number > (std::numeric_limits<std::size_t>::max() >> shift))
    throw UsageError(fmt::format("--max-memory needs a size like 800M or 2G, not '{}'", text));
  return number << shift;
}

void add_variable(std::map<std::string, std::string>& env, const std::string& setting) {
  const auto equals = setting.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(fmt::format("--env needs NAME=VALUE, not '{}'", setting));
  env[setting.substr(0, equals)] = setting.substr(equals + 1);
}

/// The options of `yoke map`, as they are on the command line.
class MapArguments {
 public:
  explicit MapArguments(CLI::App& app)
      : command_(app.add_subcommand("map", "call a task for each input, in parallel worker processes")) {
    auto& c = *command_;
    c.add_option("LIBRARY[:TASK]", options_.target,
                 "shared library with tasks (functions marked with\n"
                 "YOKE_TASK), and which of them; TASK may be left\n"
                 "out if there is only one")
        ->type_name("");
    c.allow_extras();  // the inputs: as an option of CLI11's they would lose brackets and commas
    c.add_option("-j,--jobs", jobs_, "worker processes at a time (default: one for each\nprocessor that may be used)")
        ->type_name("N");
    c.add_option("--on", options_.places,
                 "where the workers are: ssh:HOST,HOST..., local,\nslurm:nodes=N,partition=NAME, or command:COMMAND\n"
                 "with {agent} in it; may be given several times.\n--jobs is then for each host (default: here)")
        ->allow_extra_args(false)
        ->type_name("PLACE");
    c.add_flag(
        "--deploy", options_.deploy,
        "send this command and the library to hosts that\ndo not have them; otherwise they are there at the\nsame "
        "paths");
    c.add_option("--timeout", timeout_, "time that one call may take, like 2.5; its worker\nis killed then")
        ->type_name("SECONDS");
    c.add_option("--max-memory", max_memory_,
                 "memory that one worker may have, like 800M or 2G;\none that takes more is killed")
        ->type_name("SIZE");
    c.add_option("--retries", retries_, "repeat a call whose worker died or ran out of\ntime, so often (default: 0)")
        ->type_name("N");
    c.add_flag("--unordered", options_.unordered, "write results as they come, not in the order of\nthe inputs");
    c.add_option("--chunksize", chunksize_,
                 "calls that travel to a worker together (default:\n1). More is faster for short calls; but a death\n"
                 "costs the whole chunk, and --timeout is for it")
        ->type_name("N");
    c.add_flag("--json-input", options_.json_input,
               "each input is a JSON value: an array gives all\narguments of a task with several, anything else is\n"
               "the one argument. Blank lines are skipped.\nWithout this the input itself, a string, is the\nargument");
    c.add_option("--env", env_, "set it in the workers' environment; may be given\nseveral times")
        ->allow_extra_args(false)
        ->type_name("NAME=VALUE");
    c.add_flag("--progress", progress_,
               "show how far it is on stderr, where that is no\nterminal by a line every 10 seconds");
    c.add_flag("--no-progress", no_progress_, "show it not even on a terminal")->excludes("--progress");
    c.footer(
        "INPUT...: one call each; without any, the lines of the standard input. Those that\n"
        "begin with a dash go after --.\n"
        "\nEach result is one line of JSON: {\"input\":...,\"value\":...}, or {\"input\":...,\"error\":{\"type\":...,\n"
        "\"message\":...}}, with a \"cause\" (signal, address, function, line, frames...) if a worker died.\n"
        "What JSON cannot say: NaN and infinity become null, bytes that are not UTF-8 become U+FFFD.\n"
        "\nExit status: 0 all well; 1 some inputs failed; 2 the command, the library or the inputs cannot be used;\n"
        "130 or 143 ended by SIGINT or SIGTERM.\n"
        "\nExamples:\n"
        "  yoke map ./libwordcount.so /usr/include/*.h\n"
        "  find . -name '*.csv' | yoke map ./libstats.so:mean --jobs 4 --timeout 30\n"
        "  echo '[1, 2]' | yoke map ./libtasks.so:add --json-input\n"
        "  yoke map ./libstats.so:mean *.csv --on ssh:n1,n2 --jobs 8");
  }

  bool chosen() const { return command_->parsed(); }
  /// `behind_dashes`: what stood behind "--", none of which is an option.
  MapOptions take(const std::vector<std::string>& behind_dashes) {
    options_.inputs = command_->remaining();
    for (const auto& input : options_.inputs)
      if (input.size() > 1 && input.front() == '-')
        throw UsageError(fmt::format(
            "there is no option {} (see yoke map --help); inputs that begin with a dash go after --", input));
    options_.inputs.insert(options_.inputs.end(), behind_dashes.begin(), behind_dashes.end());
    if (options_.target.empty()) {
      if (options_.inputs.empty())
        throw UsageError("name a task library: yoke map LIBRARY[:TASK] (see yoke map --help)");
      options_.target = options_.inputs.front();
      options_.inputs.erase(options_.inputs.begin());
    }
    if (jobs_) {
      if (*jobs_ < 1) throw UsageError(fmt::format("--jobs needs a number of workers of at least 1, not {}", *jobs_));
      options_.jobs = static_cast<int>(std::min(*jobs_, 100000L));
    }
    if (retries_ < 0) throw UsageError(fmt::format("--retries needs a number of at least 0, not {}", retries_));
    if (chunksize_ < 1) throw UsageError(fmt::format("--chunksize needs a number of at least 1, not {}", chunksize_));
    options_.retries = static_cast<int>(std::min(retries_, 1000000L));
    options_.chunksize = static_cast<std::size_t>(std::min(chunksize_, 1000000L));
    if (options_.deploy && options_.places.empty()) throw UsageError("--deploy needs --on: here nothing is missing");
    if (max_memory_) options_.max_memory = parse_memory(*max_memory_);
    if (timeout_) options_.timeout = parse_timeout(*timeout_);
    for (const auto& setting : env_) add_variable(options_.env, setting);
    if (progress_) options_.progress = Progress::When::always;
    if (no_progress_) options_.progress = Progress::When::never;
    return options_;
  }

 private:
  CLI::App* command_;
  MapOptions options_;
  std::optional<long> jobs_;
  std::optional<double> timeout_;
  std::optional<std::string> max_memory_;
  long retries_ = 0;
  long chunksize_ = 1;
  std::vector<std::string> env_;
  bool progress_ = false;
  bool no_progress_ = false;
};

int run(int argc, char** argv, std::string& command) {
  CLI::App app("Runs functions in worker processes that may crash, hang or leak without harm to the rest.", "yoke");
  app.set_version_flag("--version", "yoke " YOKE_VERSION);
  app.require_subcommand(1);
  app.footer("yoke COMMAND --help tells more.");
  MapArguments map(app);
  auto* tasks = app.add_subcommand("tasks", "list the tasks of a library, with their signatures");
  std::string library;
  tasks->add_option("LIBRARY", library, "shared library with tasks")->required();
  auto* hello =
      app.add_subcommand("hello", "run a task in a worker and tell what it saw: a first look at whether it works");
  auto* doctor = app.add_subcommand("doctor", "check what this machine offers to the workers, and what is missing");
  bool json = false;
  doctor->add_flag("--json", json, "print the findings as JSON");
  doctor->footer(
      "Each line: ok, note (works, at a cost) or MISSING (no worker can run). Exit status 1 if anything is MISSING.");

  // CLI11 would not hand what is behind "--" to the command.
  const bool is_map = argc > 1 && std::string_view(argv[1]) == "map";
  char** const dashes = is_map ? std::find(argv, argv + argc, std::string_view("--")) : argv + argc;
  const std::vector<std::string> behind_dashes(std::min(dashes + 1, argv + argc), argv + argc);
  try {
    app.parse(static_cast<int>(dashes - argv), argv);
  } catch (const CLI::Success& wanted) {
    return app.exit(wanted);  // --help, --version
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && argc > 1 && argv[1][0] != '-')
      throw UsageError(fmt::format("there is no command '{}' (see yoke --help)", argv[1]));
    if (argc < 2) throw UsageError("name a command: map, tasks, hello or doctor (see yoke --help)");
    for (const auto* chosen : app.get_subcommands()) command += " " + chosen->get_name();
    throw UsageError(fmt::format("{} (see {} --help)", error.what(), command));
  }
  for (const auto* chosen : app.get_subcommands()) command += " " + chosen->get_name();
  if (map.chosen()) return run_map(map.take(behind_dashes));
  if (tasks->parsed()) return run_tasks(library);
  if (hello->parsed()) return run_hello();
  if (doctor->parsed()) return run_doctor(json);
  return exit_status::usage;
}

}  // namespace
}  // namespace yoke::tools

int main(int argc, char** argv) {
  using namespace yoke::tools;
  occupy_standard_streams();
  std::string command = "yoke";
  int status = exit_status::failure;
  try {
    status = run(argc, argv, command);
  } catch (const UsageError& error) {
    fmt::print(stderr, "{}: {}\n", command, error.what());
    status = exit_status::usage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", command, error.what());
  }
  if ((std::fflush(stdout) != 0 || std::ferror(stdout) != 0) && status == exit_status::success) {
    fmt::print(stderr, "{}: cannot write to the standard output\n", command);
    status = exit_status::failure;
  }
  return status;
}
