// Which files are counted, and how they are dealt out to tasks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "count_file.hpp"

namespace wordcount {

using Batch = std::vector<std::string>;

struct Headers {
  std::vector<Batch> batches;          // of about equal numbers of bytes
  std::vector<Unreadable> unreadable;  // folders that could not be listed
};

/// Every regular file below `root`, whatever its name; symbolic links are not followed. What `find root -type f` lists.
/// Throws std::filesystem::filesystem_error if there is no such folder.
Headers find_headers(const std::filesystem::path& root);

}  // namespace wordcount
