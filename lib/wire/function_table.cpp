#include "lib/wire/function_table.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <cstring>
#include <mutex>

#include "lib/system/fork_guard.hpp"
#include "yoke/error.hpp"

namespace yoke::wire {
namespace {

struct ModuleNumbers {
  std::mutex mutex;
  std::vector<system::Module> modules{{}, system::home_module()};  // 0 is no module, 1 home
};
ModuleNumbers& numbers() {
  static auto* const table = system::make_process_wide<ModuleNumbers>(system::ForkOrder::functions);
  return *table;
}

constexpr FunctionReference make_reference(std::size_t number, std::uint64_t offset) {
  return static_cast<std::uint64_t>(number) << 48 | offset;
}

/// The loader gives what it has by that name, which may be the file that was there before. By this name it has none:
/// the descriptor stays open, so that the next one has another.
void open_beside(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && !dlopen(fmt::format("/proc/self/fd/{}", fd).c_str(), RTLD_NOW | RTLD_LOCAL))
    static_cast<void>(dlerror());
}

}  // namespace

FunctionReference refer_to(const void* function) {
  struct Last {
    const void* function = nullptr;
    FunctionReference reference = 0;
    std::uint64_t loads = 0;  // when it was found; 0 if it stays true
  };
  thread_local Last last;
  if (function == last.function && (last.loads == 0 || last.loads == system::load_count())) return last.reference;
  const std::uint64_t loads = system::load_count();
  const auto module = system::module_of(function);
  if (!module)
    throw Error("the function to be run lies in no loaded module (generated code?), so a worker cannot find it");
  if (module->is_executable && !system::program_is_ours())
    throw Error(
        "the function to be run lies in the program itself, whose main was not entered through yoke's start hook: "
        "link yoke before libc, or call yoke::init(argc, argv) in the first line of main");
  const std::lock_guard lock(numbers().mutex);
  auto& modules = numbers().modules;
  std::size_t number = 1;
  while (number < modules.size() && modules[number].identity != module->identity) ++number;
  if (number == modules.size()) modules.push_back(*module);
  modules[number].path = module->path;
  const auto reference = make_reference(number, reinterpret_cast<std::uintptr_t>(function) - module->base);
  last = {function, reference, module->stays ? 0 : loads};
  return reference;
}

std::vector<std::uint32_t> other_versions(std::uint32_t number) {
  const std::lock_guard lock(numbers().mutex);
  const auto& modules = numbers().modules;
  std::vector<std::uint32_t> others;
  for (std::uint32_t other = 2; other < modules.size(); ++other)
    if (other != number && modules[other].path == modules.at(number).path) others.push_back(other);
  return others;
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
      open_beside(path);
      loaded = system::find_loaded(identity);
    }
    if (!loaded) {
      module.trouble = fmt::format(
          "{} is not the file that this program loaded (another build-id): it was replaced while the program ran. "
          "Start the program again",
          path);
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
  if (!module.trouble.empty())
    throw Error(fmt::format("its function cannot be found in the worker: {}", module.trouble));
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
