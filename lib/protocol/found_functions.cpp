#include "lib/protocol/found_functions.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "lib/system/rights.hpp"
#include "yoke/named_task.hpp"

namespace yoke::protocol {
namespace {

/// A module's description (its identity behind its length, and its path), with the path of the deployed one where there
/// is no file at its own.
std::vector<std::uint8_t> find_deployed(std::vector<std::uint8_t> description) {
  const auto folder = system::own_variable(agent_libraries_variable);
  const std::size_t path_at = description.empty() ? 0 : 1 + std::size_t{description[0]};
  if (!folder || path_at == 0 || path_at >= description.size()) return description;
  const std::filesystem::path path(
      std::string(description.begin() + static_cast<std::ptrdiff_t>(path_at), description.end()));
  std::error_code none;
  if (std::filesystem::exists(path, none)) return description;
  const std::string deployed = *folder + "/" + path.filename().string();
  description.resize(path_at);
  description.insert(description.end(), deployed.begin(), deployed.end());
  return description;
}

}  // namespace

void FoundFunctions::add_module(const ModuleNote& note) {
  constexpr std::uint32_t most_modules = 65536;
  if (note.number >= most_modules) throw ProtocolError(fmt::format("module number {} is too high", note.number));
  const auto description = find_deployed(note.description);
  resolver_.add_module(note.number, std::as_bytes(std::span(description)));
}

void FoundFunctions::add(const FunctionNote& note, bool same_build) {
  FoundFunction function;
  try {
    function.trouble = look_for(note, same_build, function);
  } catch (const std::exception& error) {
    function.trouble = error.what();
  }
  functions_.insert_or_assign(note.number, std::move(function));
}

const FoundFunction* FoundFunctions::find(FunctionNumber number) const {
  const auto found = functions_.find(number);
  return found == functions_.end() ? nullptr : &found->second;
}

/// What is in the way; empty: nothing, and the function is there.
std::string FoundFunctions::look_for(const FunctionNote& note, bool same_build, FoundFunction& function) {
  if (note.task.empty()) {
    if (!same_build)
      return "another build of the program runs there, which has only its named tasks (YOKE_TASK) in common with this "
             "one. "
             "Put the same build on the host, or set deploy";
    const void* const trampoline = resolver_.resolve(note.trampoline);
    function.callable.reset(new Callable{.trampoline = reinterpret_cast<Trampoline>(const_cast<void*>(trampoline)),
                                         .type = &typeid(void),
                                         .chunk = note.chunk});
    function.target = note.target ? resolver_.resolve(note.target) : nullptr;
    return {};
  }
  for (const NamedTask* task : named_tasks())
    if (task->name == note.task) {
      const Callable& found = note.chunk ? *task->chunk_callable : *task->callable;
      function.callable.reset(new Callable{found.trampoline, found.type});
      return {};
    }
  std::string why = fmt::format("the program there has no task '{}'", note.task);
  try {
    static_cast<void>(resolver_.resolve(note.trampoline));
  } catch (const std::exception& error) {  // its library cannot be opened, for one
    why += fmt::format(": {}", error.what());
  }
  return why;
}

}  // namespace yoke::protocol
