#include "lib/system/thread.hpp"

#include <link.h>

namespace yoke::system {
namespace {

/// Adds what a loaded module has of thread-local variables.
int add_thread_locals(dl_phdr_info* module, std::size_t, void* sum) {
  for (int i = 0; i < module->dlpi_phnum; ++i) {
    const auto& part = module->dlpi_phdr[i];
    if (part.p_type == PT_TLS) *static_cast<std::size_t*>(sum) += part.p_memsz + part.p_align;
  }
  return 0;
}

}  // namespace

std::size_t stack_for(std::size_t used) noexcept {
  std::size_t thread_locals = 0;
  ::dl_iterate_phdr(&add_thread_locals, &thread_locals);
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto least = static_cast<std::size_t>(::sysconf(_SC_THREAD_STACK_MIN));
  return (least + thread_locals + used + page - 1) / page * page;
}

}  // namespace yoke::system
