// yoke tasks LIBRARY: what a library has to offer.
#include <fmt/format.h>

#include "commands.hpp"
#include "signature.hpp"
#include "task_library.hpp"
#include "usage.hpp"

namespace yoke::tools {

int run_tasks(const std::string& library) {
  const TaskLibrary tasks(library);
  for (const auto* task : tasks.tasks()) fmt::print("{}\t{}\n", task->name, signature(task->signature, task->name));
  return exit_status::success;
}

}  // namespace yoke::tools
