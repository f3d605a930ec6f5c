#include "lib/protocol/told_functions.hpp"

#include <algorithm>
#include <utility>

#include "lib/system/modules.hpp"
#include "lib/wire/function_table.hpp"
#include "yoke/named_task.hpp"

namespace yoke::protocol {
namespace {

ToldFunction describe(const Callable& callable, const void* target, FunctionNumber number) {
  ToldFunction function;
  function.note.number = number;
  function.note.chunk = callable.chunk;
  for (const NamedTask* task : named_tasks())
    if (task->callable == &callable || task->chunk_callable == &callable) {
      function.note.task = task->name;
      function.note.chunk = task->chunk_callable == &callable;
    }
  const auto refer = [&](const void* code) {
    const wire::FunctionReference reference = wire::refer_to(code);
    const std::uint32_t module = wire::module_number(reference);
    if (module != 1 && std::ranges::find(function.modules, module) == function.modules.end())
      function.modules.push_back(module);
    return reference;
  };
  function.note.trampoline = refer(reinterpret_cast<const void*>(callable.trampoline));
  if (target) function.note.target = refer(target);
  return function;
}

}  // namespace

FunctionNumber ToldFunctions::number_of(const Callable& callable, const void* target) {
  // What was unloaded may have another in its place.
  if (const auto loads = system::load_count(); std::exchange(loads_, loads) != loads) numbers_.clear();
  const auto [found, is_new] = numbers_[&callable].try_emplace(target, static_cast<FunctionNumber>(functions_.size()));
  if (!is_new) return found->second;
  try {
    functions_.push_back(describe(callable, target, found->second));
  } catch (...) {
    numbers_[&callable].erase(target);
    throw;
  }
  return found->second;
}

bool has_name(const Task& task) {
  return std::ranges::any_of(named_tasks(), [&](const NamedTask* named) {
    return named->callable == &task.callable() || named->chunk_callable == &task.callable();
  });
}

ModuleNote module_note(std::uint32_t module) {
  const auto description = wire::describe_module(module);
  const auto* begin = reinterpret_cast<const std::uint8_t*>(description.data());
  return {module, {begin, begin + description.size()}};
}

}  // namespace yoke::protocol
