// The job: counts all batches in a pool of workers, and merges what comes back.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "headers.hpp"
#include "tally.hpp"

namespace wordcount {

/// A file whose count did not come back.
struct Lost {
  std::string path;
  bool killed_its_worker = false;
  std::string report;  // the error's text
};

struct Counts {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t identifiers = 0;
  Tally tally;
  std::vector<Lost> lost;
  std::vector<Unreadable> unreadable;
  std::chrono::duration<double> seconds{0};
};

/// Starts `workers` processes and counts. Where a worker dies, the files of its batch are counted again one by one, so
/// that only the file that it died of is lost.
Counts count_all(const std::vector<Batch>& batches, int workers);

}  // namespace wordcount
