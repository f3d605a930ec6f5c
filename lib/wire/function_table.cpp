#include "lib/wire/function_table.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstring>
#include <mutex>

#include "yoke/error.hpp"

namespace yoke::wire {
namespace {

struct ModuleNumbers {
  std::mutex mutex;
  std::vector<system::Module> modules{{}, system::home_module()};  // 0 is no module, 1 home
};
ModuleNumbers& numbers() {
  static auto* table = new ModuleNumbers;
  return *table;
}

constexpr FunctionReference make_reference(std::size_t number, std::uint64_t offset) {
  return static_cast<std::uint64_t>(number) << 48 | offset;
}

}  // namespace

FunctionReference refer_to(const void* function) {
  thread_local const void* last = nullptr;
  thread_local FunctionReference last_reference = 0;
  if (function == last) return last_reference;
  const auto module = system::module_of(function);
  if (!module)
    throw Error("the function to be run lies in no loaded module (generated code?), so a worker cannot find it");
  if (module->is_executable && !system::program_is_ours())
    throw Error("the function to be run lies in the program itself, whose main was not entered through yoke's start hook: "
                "link yoke before libc, or call yoke::init(argc, argv) in the first line of main");
  const std::lock_guard lock(numbers().mutex);
  auto& modules = numbers().modules;
  std::size_t number = 1;
  while (number < modules.size() && modules[number].identity != module->identity) ++number;
  if (number == modules.size()) modules.push_back(*module);
  modules[number].path = module->path;
  last = function;
  last_reference = make_reference(number, reinterpret_cast<std::uintptr_t>(function) - module->base);
  return last_reference;
}

std::vector<std::byte> describe_module(std::uint32_t number) {
  const std::lock_guard lock(numbers().mutex);
  const system::Module& module = numbers().modules.at(number);
  std::vector<std::byte> body(1 + module.identity.size() + module.path.size());
  body[0] = static_cast<std::byte>(module.identity.size());
  std::memcpy(body.data() + 1, module.identity.data(), module.identity.size());
  std::memcpy(body.data() + 1 + module.identity.size(), module.path.data(), module.path.size());
  return body;
}

FunctionResolver::FunctionResolver() : modules_(2) { modules_[1] = {true, system::home_module().base, {}}; }

void FunctionResolver::add_module(std::uint32_t number, std::span<const std::byte> description) {
  if (number >= modules_.size()) modules_.resize(number + 1);
  KnownModule& module = modules_[number];
  module.known = true;
  const std::size_t length = description.empty() ? 0 : static_cast<std::size_t>(description[0]);
  if (description.size() < 1 + length) {
    module.trouble = "its description is damaged";
    return;
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(description.data());
  const system::ModuleIdentity identity(bytes + 1, bytes + 1 + length);
  const std::string path(reinterpret_cast<const char*>(bytes) + 1 + length, description.size() - 1 - length);
  auto loaded = system::find_loaded(identity);
  if (!loaded) {
    if (!dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
      const char* error = dlerror();
      module.trouble = fmt::format("the worker cannot open it: {}", error ? error : path);
      return;
    }
    loaded = system::find_loaded(identity);
    if (!loaded) {
      module.trouble = fmt::format(
          "{} is not the file that this program loaded (another build-id): it was replaced while the program ran. "
          "Start the program again", path);
      return;
    }
  }
  module.base = loaded->base;
}

const void* FunctionResolver::resolve(FunctionReference reference) {
  if (reference == last_) return last_address_;
  if (const auto found = resolved_.find(reference); found != resolved_.end()) {
    last_ = reference;
    return last_address_ = found->second;
  }
  const std::uint32_t number = module_number(reference);
  if (!knows(number)) throw Error(fmt::format("a function in module {}, which the worker was not told of", number));
  const KnownModule& module = modules_[number];
  if (!module.trouble.empty()) throw Error(fmt::format("its function cannot be found in the worker: {}", module.trouble));
  const std::uint64_t offset = offset_in_module(reference);
  if (!system::is_code(module.base, offset))
    throw Error(fmt::format("its function cannot be found in the worker: there is no code at offset {:#x} of module {}",
                            offset, number));
  const void* address = reinterpret_cast<const void*>(module.base + offset);
  resolved_.emplace(reference, address);
  last_ = reference;
  return last_address_ = address;
}

}  // namespace yoke::wire
