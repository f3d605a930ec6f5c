// What the commands of `yoke` have in common: their exit statuses, and the error that is the user's to mend.
#pragma once

#include <stdexcept>

namespace yoke::tools {

namespace exit_status {
inline constexpr int success = 0;
inline constexpr int failure = 1;      // some inputs failed, or the pool could not run
inline constexpr int usage = 2;        // the command line, the library or the inputs cannot be used
inline constexpr int by_signal = 128;  // plus the signal's number
}  // namespace exit_status

/// The command line, the task library or an input cannot be used. what() says which, why, and what to do.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace yoke::tools
