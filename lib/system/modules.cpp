// The loader's list of modules, and their identities from notes and program headers.
#include "lib/system/modules.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <system_error>
#include <utility>

#include "lib/system/fork_guard.hpp"
#include "lib/system/memory_map.hpp"

namespace yoke::system {
namespace {

std::atomic<bool> ours{false};

constexpr std::size_t longest_identity = 32;

std::span<const ElfW(Phdr)> headers_of(const dl_phdr_info& info) { return {info.dlpi_phdr, info.dlpi_phnum}; }

bool holds(const ElfW(Phdr) & header, std::uint64_t offset) {
  return header.p_type == PT_LOAD && offset >= header.p_vaddr && offset - header.p_vaddr < header.p_memsz;
}

const std::uint8_t* memory_at(const dl_phdr_info& info, std::uint64_t offset) {
  return reinterpret_cast<const std::uint8_t*>(static_cast<std::uintptr_t>(info.dlpi_addr + offset));
}

// True if a readable segment holds the file's bytes [offset, offset + size): a note need not be loaded at all.
bool is_readable(const dl_phdr_info& info, std::uint64_t offset, std::uint64_t size) {
  return std::ranges::any_of(headers_of(info), [&](const ElfW(Phdr) & header) {
    return header.p_type == PT_LOAD && (header.p_flags & PF_R) != 0 && offset >= header.p_vaddr &&
           size <= header.p_filesz && offset - header.p_vaddr <= header.p_filesz - size;
  });
}

ModuleIdentity build_id_in(std::span<const std::uint8_t> notes, std::size_t alignment) {
  const auto padded = [&](std::size_t size) { return (size + alignment - 1) / alignment * alignment; };
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes.data(), sizeof note);
    const std::size_t description = sizeof note + padded(note.n_namesz);
    if (description + note.n_descsz > notes.size()) break;
    const auto name = notes.subspan(sizeof note, note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID && name.size() == 4 && std::memcmp(name.data(), "GNU", 4) == 0) {
      const auto id = notes.subspan(description, std::min<std::size_t>(note.n_descsz, longest_identity));
      return {id.begin(), id.end()};
    }
    notes = notes.subspan(std::min(notes.size(), description + padded(note.n_descsz)));
  }
  return {};
}

class Fnv1a {
 public:
  void add(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) hash_ = (hash_ ^ byte) * 0x100000001b3U;
  }
  void add(std::uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) hash_ = (hash_ ^ (number >> shift & 0xff)) * 0x100000001b3U;
  }
  [[nodiscard]] std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325U;
};

// All of what goes in is the same in each process, wherever the module was loaded: only text relocations would differ.
ModuleIdentity identity_from_content(const dl_phdr_info& info) {
  constexpr std::size_t most = 64 * 1024;
  Fnv1a hash;
  for (const ElfW(Phdr) & header : headers_of(info)) {
    for (const std::uint64_t field :
         {std::uint64_t{header.p_type}, std::uint64_t{header.p_flags}, std::uint64_t{header.p_offset},
          std::uint64_t{header.p_vaddr}, std::uint64_t{header.p_filesz}, std::uint64_t{header.p_memsz}}) {
      hash.add(field);
    }
    constexpr auto readable_code = PF_R | PF_X;
    if (header.p_type != PT_LOAD || (header.p_flags & readable_code) != readable_code) continue;
    const std::span code(memory_at(info, header.p_vaddr), header.p_filesz);
    hash.add(code.first(std::min(most, code.size())));
    hash.add(code.last(std::min(most, code.size())));
  }
  ModuleIdentity identity(sizeof(std::uint64_t));
  const std::uint64_t value = hash.value();
  std::memcpy(identity.data(), &value, sizeof value);
  return identity;
}

ModuleIdentity identity_of(const dl_phdr_info& info) {
  for (const ElfW(Phdr) & header : headers_of(info)) {
    if (header.p_type != PT_NOTE || !is_readable(info, header.p_vaddr, header.p_filesz)) continue;
    const std::size_t alignment = header.p_align == 8 ? 8 : 4;
    auto id = build_id_in({memory_at(info, header.p_vaddr), header.p_filesz}, alignment);
    if (!id.empty()) return id;
  }
  return identity_from_content(info);
}

/// The loader's own lock is not given back in a fork: so no thread of ours may hold it then.
std::mutex& visit_mutex() {
  static auto* const mutex = [] {
    auto* const made = new std::mutex;
    hold_over_forks(ForkOrder::modules, *made);
    return made;
  }();
  return *mutex;
}
[[maybe_unused]] const std::mutex& made_at_load = visit_mutex();

// Calls `visit` for each module, the main program first, until it returns true. The loader's lock is held meanwhile.
// An exception must not fly through the loader, which is C: it is carried around it.
void visit_modules(const std::function<bool(const dl_phdr_info&, bool is_executable)>& visit) {
  struct Call {
    decltype(visit) function;
    bool first = true;
    std::exception_ptr error;
  } call{visit, true, {}};
  const std::lock_guard lock(visit_mutex());
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) -> int {
        auto& self = *static_cast<Call*>(data);
        try {
          return self.function(*info, std::exchange(self.first, false)) ? 1 : 0;
        } catch (...) {
          self.error = std::current_exception();
          return 1;
        }
      },
      &call);
  if (call.error) std::rethrow_exception(call.error);
}

/// Bases of what was there before any constructor ran: with a program that is linked to this library, all that it began
/// with.
const std::vector<std::uintptr_t>& loaded_at_start = *[] {
  auto* const bases = new std::vector<std::uintptr_t>;  // never destroyed: workers start during static destruction too
  visit_modules([&](const dl_phdr_info& info, bool) {
    bases->push_back(static_cast<std::uintptr_t>(info.dlpi_addr));
    return false;
  });
  return bases;
}();

std::string file_of(const dl_phdr_info& info) {
  for (const ElfW(Phdr) & header : headers_of(info))
    if (header.p_type == PT_LOAD) return find_place(static_cast<std::uintptr_t>(info.dlpi_addr + header.p_vaddr)).file;
  return {};
}

// As the loader has it; where that is relative, and the process may have changed its folder since, or no name of the
// file (FunctionResolver), as the kernel has it.
std::string path_of(const dl_phdr_info& info) {
  std::string path = info.dlpi_name != nullptr ? info.dlpi_name : "";
  if (path.empty() || (path.front() == '/' && !path.starts_with("/proc/"))) return path;
  std::string file = file_of(info);
  return file.empty() ? path : file;
}

Module describe(const dl_phdr_info& info, bool is_executable) {
  std::string path = path_of(info);
  if (is_executable && started_by_loader()) {
    path = file_of(info);
  } else if (is_executable) {
    std::error_code error;
    auto program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) program = std::filesystem::read_symlink("/proc/thread-self/exe", error);  // main has ended
    if (!error) path = program.string();
  }
  const auto base = static_cast<std::uintptr_t>(info.dlpi_addr);
  const auto& at_start = loaded_at_start;
  const bool stays = is_executable || (program_is_ours() && std::ranges::find(at_start, base) != at_start.end());
  return {std::move(path), is_executable, base, identity_of(info), stays};
}

}  // namespace

std::uint64_t load_count() noexcept {
  std::uint64_t count = 0;
  const std::lock_guard lock(visit_mutex());
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* to) {
        *static_cast<std::uint64_t*>(to) = info->dlpi_adds + info->dlpi_subs;
        return 1;
      },
      &count);
  return count;
}

std::optional<Module> module_of(const void* address) {
  std::optional<Module> found;
  visit_modules([&](const dl_phdr_info& info, bool is_executable) {
    const auto offset = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(address) - info.dlpi_addr);
    const bool is_it = std::ranges::any_of(headers_of(info), [&](const auto& header) { return holds(header, offset); });
    if (is_it) found = describe(info, is_executable);
    return is_it;
  });
  return found;
}

Module main_module() {
  Module found;
  visit_modules([&](const dl_phdr_info& info, bool is_executable) {
    found = describe(info, is_executable);
    return true;
  });
  return found;
}

std::optional<Module> find_loaded(const ModuleIdentity& identity) {
  std::optional<Module> found;
  visit_modules([&](const dl_phdr_info& info, bool is_executable) {
    if (identity_of(info) != identity) return false;
    found = describe(info, is_executable);
    return true;
  });
  return found;
}

bool started_by_loader() noexcept {
  // A program names its loader, and the kernel tells where it is; the loader names none.
  return ::getauxval(AT_BASE) == 0 && ::getauxval(AT_PHDR) != 0;
}

bool program_is_ours() noexcept { return ours.load(std::memory_order_relaxed); }
void note_program_is_ours() noexcept { ours.store(true, std::memory_order_relaxed); }

bool program_will_be_ours() {
  // The first definition that the program's own start finds; the libraries of a plug-in come behind libc's.
  const void* const start = dlsym(RTLD_DEFAULT, "__libc_start_main");
  const auto module = start ? module_of(start) : std::nullopt;
  return !program_is_ours() && module && module->base == home_module().base;
}

Module home_module() {
  if (program_is_ours()) return main_module();
  auto home = module_of(reinterpret_cast<const void*>(&note_program_is_ours));
  return home ? std::move(*home) : main_module();
}

void keep_home_loaded() {
  const std::string path = home_module().path;
  if (!dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE)) static_cast<void>(dlerror());
}

std::optional<std::uintptr_t> base_of(const std::string& path) {
  std::optional<std::uintptr_t> base;
  visit_modules([&](const dl_phdr_info& info, bool is_executable) {
    if (path.empty() ? is_executable : path == path_of(info)) base = static_cast<std::uintptr_t>(info.dlpi_addr);
    return base.has_value();
  });
  return base;
}

bool is_code(std::uintptr_t base, std::uint64_t offset) {
  bool found = false;
  visit_modules([&](const dl_phdr_info& info, bool) {
    found = info.dlpi_addr == base && std::ranges::any_of(headers_of(info), [&](const ElfW(Phdr) & header) {
              return (header.p_flags & PF_X) != 0 && holds(header, offset);
            });
    return found;  // not a PIE: several modules may have base 0, so look at all
  });
  return found;
}

std::string to_hex(const ModuleIdentity& identity) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : identity) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace yoke::system
