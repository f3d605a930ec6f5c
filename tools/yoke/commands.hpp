// The commands of `yoke`. Each returns the exit status; what it throws is printed by main.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "progress.hpp"

namespace yoke::tools {

struct MapOptions {
  std::string target;               // LIBRARY[:TASK]
  std::vector<std::string> inputs;  // none: the lines of stdin
  std::vector<std::string> places;  // where the workers are, as yoke::add_hosts reads it; none: here
  bool deploy = false;
  std::optional<int> jobs;          // workers, on each host where there are several
  std::optional<std::chrono::milliseconds> timeout;
  int retries = 0;
  std::optional<std::size_t> max_memory;  // bytes that a worker may have
  bool unordered = false;
  std::size_t chunksize = 1;
  bool json_input = false;
  std::map<std::string, std::string> env;
  Progress::When progress = Progress::When::on_terminal;
};
int run_map(const MapOptions& options);

int run_tasks(const std::string& library);
int run_hello();
int run_doctor(bool json);

}  // namespace yoke::tools
