// What the program prints of its counts: a summary for people, one for programs, and all counts for `sort | uniq -c`.
#pragma once

#include <filesystem>
#include <string>

#include "job.hpp"

namespace wordcount {

struct Result {
  std::filesystem::path root;
  int workers = 1;
  Counts alone;  // counted by one worker
  Counts all;    // counted by all
};

std::string summary(const Result& result);
std::string summary_json(const Result& result);

/// One line for each identifier, as `sort | uniq -c` would print it. Throws std::system_error.
void write_counts(const Counts& counts, const std::filesystem::path& path);

}  // namespace wordcount
