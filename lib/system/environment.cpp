#include "lib/system/environment.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "lib/system/fork_guard.hpp"

namespace yoke::system {
namespace {

std::shared_ptr<const Environment> read() {
  auto all = std::make_shared<Environment>();
  for (char** variable = ::environ; variable && *variable; ++variable) all->emplace_back(*variable);
  return all;
}

struct LastLook {
  std::mutex mutex;
  std::shared_ptr<const Environment> found = read();
};
LastLook& last_look() {
  static auto* const last = make_process_wide<LastLook>(ForkOrder::environment);
  return *last;
}
[[maybe_unused]] const LastLook& made_at_load = last_look();

thread_local unsigned own_in_generation = 0;  // of processes; 0: the thread is the program's

}  // namespace

void mark_own_thread() noexcept { own_in_generation = fork_generation(); }
bool on_own_thread() noexcept { return own_in_generation == fork_generation(); }

void look_at_environment() {
  if (on_own_thread()) return;
  auto found = read();
  LastLook& last = last_look();
  const std::lock_guard lock(last.mutex);
  std::swap(last.found, found);
}

std::shared_ptr<const Environment> environment() {
  LastLook& last = last_look();
  const std::lock_guard lock(last.mutex);
  return last.found;
}

std::optional<std::string> variable(const char* name) {
  if (!on_own_thread()) {
    const char* value = std::getenv(name);
    return value ? std::optional<std::string>(value) : std::nullopt;
  }
  const auto all = environment();
  const std::size_t length = std::strlen(name);
  for (const std::string& entry : *all)
    if (entry.size() > length && entry[length] == '=' && entry.starts_with(name)) return entry.substr(length + 1);
  return {};
}

}  // namespace yoke::system
