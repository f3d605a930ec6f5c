// What lies at an address of this process. Thread-safe; nothing is cached.
#pragma once

#include <cstdint>
#include <string>

namespace yoke::system {

enum class MemoryKind { unmapped, anonymous, this_stack, main_stack, heap, file };

struct MemoryPlace {
  MemoryKind kind = MemoryKind::unmapped;
  std::string file;  // of MemoryKind::file
};

/// Quick: one system call. False if nothing is mapped there.
bool is_mapped(std::uintptr_t address) noexcept;

/// Reads /proc/…/maps: slow.
MemoryPlace find_place(std::uintptr_t address);

}  // namespace yoke::system
