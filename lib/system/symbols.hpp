// Names for addresses and types: what errors show. Slow (debug information is read at the first call): never called by
// the watchdog. Thread-safe.
#pragma once

#include <string>

namespace yoke::system {

/// The C++ spelling of a mangled name; the name itself if it is none.
std::string demangle(const char* name);

/// The function that holds `address`, demangled; empty if no symbol tells.
std::string function_name(const void* address);

/// "function at file:line", with what of it is known; "module+0x1234" if nothing is.
std::string describe_code(const void* address);

/// The same of the innermost function that was inlined there; empty if debug information does not tell.
std::string describe_inlined_code(const void* address);

}  // namespace yoke::system
