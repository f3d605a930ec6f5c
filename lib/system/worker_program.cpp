#include "lib/system/worker_program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "lib/system/launcher.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/rights.hpp"

// The build says where yoke-worker is installed: its path, and that from the library's folder, for trees that are
// moved.
#if !defined YOKE_INSTALLED_WORKER || !defined YOKE_WORKER_FROM_LIBRARY
#error "YOKE_INSTALLED_WORKER and YOKE_WORKER_FROM_LIBRARY are not defined"
#endif

namespace yoke::system {
namespace {

/// Where it may be, in order.
std::vector<std::string> places(const std::string& home) {
  if (const auto named = own_variable(worker_program_variable); named && !named->empty()) return {*named};
  const std::filesystem::path folder = std::filesystem::path(home).parent_path();
  return {folder / "yoke-worker", folder / YOKE_WORKER_FROM_LIBRARY, YOKE_INSTALLED_WORKER};
}

/// Of the program that opens the module at `home`.
WorkerProgram find_yoke_worker(const std::string& home) {
  std::string trouble;
  for (const std::string& place : places(home)) {
    UniqueFd opened(::open(place.c_str(), O_RDONLY | O_CLOEXEC));
    if (opened && ::access(place.c_str(), X_OK) == 0) {
      opened = above_stdio(std::move(opened));
      const int fd = opened.get();
      return {fd, {place, home}, std::move(opened)};
    }
    trouble += fmt::format("{}{} ({})", trouble.empty() ? "" : ", ", place, std::strerror(errno));
  }
  throw std::runtime_error(
      fmt::format("this program is not linked to yoke, which came with {}: its workers run the program yoke-worker, "
                  "and there is none: {}. "
                  "Install yoke, put yoke-worker beside the shared object, or name its file in {}",
                  home, trouble, worker_program_variable));
}

}  // namespace

WorkerProgram worker_program() {
  if (program_is_ours()) return {own_executable_fd(), own_arguments()};
  return find_yoke_worker(home_module().path);
}

}  // namespace yoke::system
