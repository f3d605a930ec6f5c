// The registry of named tasks.
#include "yoke/named_task.hpp"

#include <algorithm>
#include <mutex>

namespace yoke {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<const NamedTask*> tasks;
};
Registry& registry() {
  static auto* tasks = new Registry;  // libraries register and forget in their own constructors and destructors
  return *tasks;
}

}  // namespace

std::vector<const NamedTask*> named_tasks() {
  const std::lock_guard lock(registry().mutex);
  return registry().tasks;
}

namespace detail {

void register_task(const NamedTask* task) {
  const std::lock_guard lock(registry().mutex);
  registry().tasks.push_back(task);
}

void forget_task(const NamedTask* task) {
  const std::lock_guard lock(registry().mutex);
  std::erase(registry().tasks, task);
}

}  // namespace detail
}  // namespace yoke
