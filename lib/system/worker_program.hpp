// The program that a worker process runs: this one, or, where this one is not ours (modules.hpp), yoke-worker, which
// opens the home module and calls its yoke_worker_main.
#pragma once

#include <string>
#include <vector>

#include "lib/system/unique_fd.hpp"

namespace yoke::system {

struct WorkerProgram {
  int fd = -1;
  std::vector<std::string> arguments;
  UniqueFd opened{};  // fd, where it is not this process's own for good
};

/// Thread-safe. Throws std::runtime_error, which says where it looked, or std::system_error.
WorkerProgram worker_program();

/// Names the file of yoke-worker, in place of where it was installed.
inline constexpr char worker_program_variable[] = "YOKE_WORKER_PROGRAM";

}  // namespace yoke::system
