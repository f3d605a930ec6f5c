// The check of by_value: captures that look like pointers.
#include <fmt/format.h>

#include <cstring>

#include "lib/system/memory_map.hpp"
#include "lib/system/modules.hpp"
#include "yoke/callable.hpp"
#include "yoke/error.hpp"

namespace yoke::detail {
namespace {

using system::MemoryKind;

constexpr std::uintptr_t low_memory = 1ULL << 45;  // where but for a program at a fixed address only sanitizers map
constexpr std::uintptr_t fixed_program = 1ULL << 32;  // such a program lies below, and so do most numbers

const char* name_of(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::this_stack: return "this thread's stack";
    case MemoryKind::main_stack: return "the main thread's stack";
    case MemoryKind::heap: return "the heap";
    case MemoryKind::file: return "code or data of ";
    case MemoryKind::anonymous: return "memory of this process, such as a heap or another thread's stack";
    case MemoryKind::unmapped: break;
  }
  return "nothing";
}

}  // namespace

void check_captured_words(const void* captures, std::size_t size) {
  for (std::size_t at = 0; at + sizeof(std::uintptr_t) <= size; at += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    std::memcpy(&word, static_cast<const std::byte*>(captures) + at, sizeof word);
    // At a fixed address the worker has the same code and constants; of its heap there is no telling from numbers.
    if (word < fixed_program || !system::is_mapped(word)) continue;
    auto [kind, file] = system::find_place(word);
    if (kind == MemoryKind::anonymous)  // so is what a module's zeroed data takes beyond its file
      if (const auto module = system::module_of(reinterpret_cast<const void*>(word))) {
        kind = MemoryKind::file;
        file = module->path;
      }
    if (kind == MemoryKind::unmapped || (kind == MemoryKind::anonymous && word < low_memory)) continue;
    throw SerializationError(fmt::format(
        "by_value: the captures hold {:#x} at byte {}, which looks like a pointer or a reference to {}{}: in a worker "
        "process something else is there. Capture by value what it refers to, or pass it as an argument; for memory "
        "that "
        "workers share, capture SharedArray::view(). If it is a number that happens to look like an address, use "
        "yoke::by_value_unchecked()",
        word, at, name_of(kind), file));
  }
}

}  // namespace yoke::detail
