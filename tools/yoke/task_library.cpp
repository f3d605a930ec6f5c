// dlopen, and every way in which it can go wrong.
#include "task_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "signature.hpp"
#include "usage.hpp"

namespace yoke::tools {
namespace {

namespace fs = std::filesystem;

bool is_file(const std::string& path) {
  std::error_code none;
  return fs::exists(path, none);
}

/// What dlopen shall be given: the absolute path, which workers can open wherever they are, or, where there is no such
/// file here, the bare name, which the loader looks for in its own folders.
std::string path_for_loader(const std::string& library) {
  std::error_code error;
  const fs::path path = fs::canonical(library, error);
  if (!error) {
    if (fs::is_directory(path, error)) throw UsageError(fmt::format("{} is a folder, not a task library", library));
    return path.string();
  }
  if (library.find('/') != std::string::npos)
    throw UsageError(fmt::format("cannot open the task library {}: {}", library, error.message()));
  return library;
}

void load(const std::string& library) {
  const std::string path = path_for_loader(library);
  if (::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return;
  const char* text = ::dlerror();
  std::string_view reason = text ? text : "the loader gives no reason";
  if (reason.starts_with(path + ": ")) reason.remove_prefix(path.size() + 2);
  if (!is_file(library))
    throw UsageError(fmt::format("there is no task library {} here or in the loader's folders: {}", library, reason));
  throw UsageError(fmt::format("cannot load {} as a task library: {}", library, reason));
}

std::string list(const std::vector<const NamedTask*>& tasks) {
  std::string names;
  for (const auto* task : tasks) names += fmt::format("\n  {}", signature(task->signature, task->name));
  return names;
}

}  // namespace

Target parse_target(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || is_file(text)) return {text, ""};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

TaskLibrary::TaskLibrary(const std::string& path) : path_(path) {
  if (path.empty()) throw UsageError("no task library is named: give the path of a shared library");
  const auto before = named_tasks();
  load(path);
  for (const auto* task : named_tasks())
    if (std::find(before.begin(), before.end(), task) == before.end()) tasks_.push_back(task);
  for (const auto* task : tasks_)
    if (std::string_view(task->version) != YOKE_VERSION)
      throw UsageError(
          fmt::format("{} was compiled with yoke {} and this command is yoke {}: compile the library again "
                      "with this version's headers",
                      path, task->version, YOKE_VERSION));
  if (tasks_.empty())
    throw UsageError(
        fmt::format("{} has no tasks: name them in its source with YOKE_TASK(function)\n"
                    "  If they are named there, the library has a hidden copy of yoke, where this command does not "
                    "look: link it to libyoke.so, or to libyoke.a without -Bsymbolic, --exclude-libs or a version "
                    "script that hides yoke's symbols",
                    path));
}

const NamedTask& TaskLibrary::find(const std::string& name) const {
  if (name.empty()) {
    if (tasks_.size() == 1) return *tasks_.front();
    throw UsageError(
        fmt::format("{} has {} tasks: say which, as {}:TASK{}", path_, tasks_.size(), path_, list(tasks_)));
  }
  for (const auto* task : tasks_)
    if (name == task->name) return *task;
  throw UsageError(fmt::format("{} has no task '{}', but{}", path_, name, list(tasks_)));
}

}  // namespace yoke::tools
