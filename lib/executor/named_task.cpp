// The registry of named tasks.
#include "yoke/named_task.hpp"

#include <algorithm>
#include <mutex>

#include "lib/system/fork_guard.hpp"

namespace yoke {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<const NamedTask*> tasks;
};
Registry& registry() {
  static auto* const tasks = system::make_process_wide<Registry>(system::ForkOrder::named_tasks);
  return *tasks;
}
[[maybe_unused]] const Registry& made_at_load = registry();

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
