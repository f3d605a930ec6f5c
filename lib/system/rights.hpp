// Whose rights this process has. Of a program with rights beyond its caller's (set-user-ID, set-group-ID, file
// capabilities, a transition of a security module: AT_SECURE) the caller chooses the environment, the descriptors and
// the arguments, and none of them may make it another's worker or agent, or tell it what to run.
//
// Any thread.
#pragma once

#include <optional>
#include <string>

namespace yoke::system {

/// The kernel says that this program has rights beyond its caller's.
bool outranks_caller() noexcept;

/// One of yoke's own variables, all of which are read with this; empty if it is not set, or comes from a caller with
/// lesser rights.
std::optional<std::string> own_variable(const char* name);

/// Why no copy of this program may be started as a worker; empty: it may. Where the kernel gives the program's file
/// rights at each exec, a worker would have what the program has given up, or could not tell its parent from anybody
/// else.
std::string trouble_of_rights();

}  // namespace yoke::system
