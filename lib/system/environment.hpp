// The program's environment, as its own threads last saw it.
//
// A program without threads of its own may call setenv and clearenv at any time, which free what a thread of ours would
// be reading. So only calls made on the program's threads read it, and the library's own threads use what was read
// last.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace yoke::system {

using Environment = std::vector<std::string>;  // "NAME=value"

/// The calling thread is the library's own, until the process is forked from it.
void mark_own_thread() noexcept;
bool on_own_thread() noexcept;

/// On a thread of the program: reads it. On one of the library's: does nothing.
void look_at_environment();
/// As it was at the last look.
std::shared_ptr<const Environment> environment();
/// Of now on a thread of the program, else of the last look; empty if it is not set.
std::optional<std::string> variable(const char* name);

}  // namespace yoke::system
