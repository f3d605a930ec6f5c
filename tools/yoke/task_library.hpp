// A shared library of tasks, as the command line names it: LIBRARY or LIBRARY:TASK.
//
// Stays loaded until the program ends: its tasks are used by the pool. Loading runs the library's static constructors.
#pragma once

#include <string>
#include <vector>
#include <yoke/named_task.hpp>

namespace yoke::tools {

struct Target {
  std::string library;
  std::string task;  // empty: the only one that the library has
};

/// Splits at the last colon, unless there is a file of the whole name.
Target parse_target(const std::string& text);

class TaskLibrary {
 public:
  /// Throws UsageError: no such file, no shared library, made with another version of yoke, no tasks.
  explicit TaskLibrary(const std::string& path);

  const std::vector<const NamedTask*>& tasks() const noexcept { return tasks_; }
  /// Throws UsageError, with the names that there are.
  const NamedTask& find(const std::string& name) const;

 private:
  std::string path_;
  std::vector<const NamedTask*> tasks_;
};

}  // namespace yoke::tools
