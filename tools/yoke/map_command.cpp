// yoke map: the run, and what is said of it on stderr at the end.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "commands.hpp"
#include "error_writer.hpp"
#include "lib/wire/printable.hpp"
#include "map_job.hpp"
#include "task_library.hpp"
#include "usage.hpp"

namespace yoke::tools {
namespace {

void print_failures(const MapJob::Summary& summary) {
  if (summary.failed == 0) return;
  fmt::print(stderr, "yoke map: {} of {} inputs failed\n", summary.failed, summary.done);
  for (const auto& failed : summary.first_failed) fmt::print(stderr, "  {}: {}\n", failed.input, failed.reason);
  if (summary.more_failed > 0) fmt::print(stderr, "  and {} more\n", summary.more_failed);
}

void print_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    fmt::print(stderr, "yoke map: {}\n", wire::printable(known.what(), wire::Lines::several, wire::most_text));
  }
}

/// Ends as any program does whose reader has gone: by SIGPIPE, or with a status where that signal is ignored.
int end_without_reader() {
  ::raise(SIGPIPE);
  return exit_status::failure;
}

}  // namespace

int run_map(const MapOptions& options) {
  const Target target = parse_target(options.target);
  const TaskLibrary library(target.library);
  const NamedTask& task = library.find(target.task);
  if (!options.json_input && task.parameters != 1)
    throw UsageError(fmt::format("{} takes {} arguments: give each input as a JSON array of them, with --json-input",
                                 task.name, task.parameters));
  Signals signals;
  const auto summary = MapJob(options, task, signals).run();
  if (summary.output_closed && !summary.signal) return end_without_reader();
  if (summary.signal)
    fmt::print(stderr, "yoke map: ended by {}: {} inputs done, {} given up\n", signal_name(*summary.signal),
               summary.done, summary.unfinished);
  print_failures(summary);
  if (summary.signal) return exit_status::by_signal + *summary.signal;
  if (summary.pool_error) print_error(summary.pool_error);
  if (summary.input_error) {
    print_error(summary.input_error);
    return exit_status::usage;
  }
  return summary.failed > 0 || summary.pool_error ? exit_status::failure : exit_status::success;
}

}  // namespace yoke::tools
