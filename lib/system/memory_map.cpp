#include "lib/system/memory_map.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "lib/system/read_text.hpp"

namespace yoke::system {
namespace {

/// Takes a hexadecimal number and the character behind it off the front; false if there is none.
bool take_hex(std::string_view& text, std::uintptr_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end == text.data() + text.size()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

/// The name at the end of a line "start-end permissions offset device inode   name", which may be missing.
std::string_view name_of(std::string_view line) {
  for (int field = 0; field < 4; ++field) {
    const auto space = line.find(' ');
    if (space == std::string_view::npos) return {};
    line.remove_prefix(space + 1);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  }
  return line;
}

MemoryPlace place_named(std::string_view name) {
  if (name == "[stack]") return {MemoryKind::main_stack, {}};
  if (name == "[heap]") return {MemoryKind::heap, {}};
  if (name.empty() || name.starts_with("[anon")) return {MemoryKind::anonymous, {}};
  return {MemoryKind::file, std::string(name)};
}

}  // namespace

bool is_mapped(std::uintptr_t address) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  unsigned char resident = 0;
  return ::mincore(reinterpret_cast<void*>(address / page * page), 1, &resident) == 0;  // ENOMEM where nothing is
}

MemoryPlace find_place(std::uintptr_t address) {
  const std::string maps = read_text("/proc/thread-self/maps");
  const auto here = reinterpret_cast<std::uintptr_t>(&maps);
  for (std::string_view rest = maps; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    std::uintptr_t start = 0;
    std::uintptr_t end = 0;
    if (!take_hex(line, start) || !take_hex(line, end) || address < start || address >= end) continue;
    if (here >= start && here < end) return {MemoryKind::this_stack, {}};
    return place_named(name_of(line));
  }
  return {};
}

}  // namespace yoke::system
