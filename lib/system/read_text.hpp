// Small files of /proc and /sys, read in one go: a stream would take several times as long.
#pragma once

#include <string>

namespace yoke::system {

/// The whole content; empty if the file cannot be read. Thread-safe.
std::string read_text(const char* path);

}  // namespace yoke::system
