// The modules (executable and shared objects) of this process, and what identifies them across processes.
//
// An address in code travels as (module, offset): offset is from the module's load base, and the module is known by its
// identity: the linker's build-id, or, where the linker wrote none, a hash over the module's program headers and code.
// Thread-safe. Nothing is cached: dlopen and dlclose may happen between calls, and what is loaded next may lie where
// what was unloaded lay. Who remembers something of an address asks load_count, or whether the module stays.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace yoke::system {

using ModuleIdentity = std::vector<std::uint8_t>;  // up to 32 bytes

struct Module {
  std::string path;  // as the loader has it; of the executable: its /proc/…/exe, or what is mapped
  bool is_executable = false;
  std::uintptr_t base = 0;  // dlpi_addr
  ModuleIdentity identity;
  bool stays = false;  // loaded with the program: dlclose never unloads it
};

/// The module that holds `address`; empty if none does.
std::optional<Module> module_of(const void* address);

/// Another one whenever a module was loaded or unloaded.
std::uint64_t load_count() noexcept;

/// The main program.
Module main_module();

/// The kernel was told to run the loader, which loaded the program (`ld.so ./program`): /proc/…/exe is the loader.
bool started_by_loader() noexcept;

/// Main was entered through this library's start hook or yoke::init, so each copy of the program becomes a worker.
bool program_is_ours() noexcept;
void note_program_is_ours() noexcept;
/// It will be: the program is linked to this library, but still constructs its static objects.
bool program_will_be_ours();

/// What parent and worker have in common from the start: the program, or, in a program that is not ours but opened a
/// plug-in with dlopen, the shared object that holds this very code.
Module home_module();
/// Whatever the host does: threads of this library may outlive its dlclose.
void keep_home_loaded();

/// The loaded module with this identity; empty if there is none.
std::optional<Module> find_loaded(const ModuleIdentity& identity);

/// Load base of the module that the loader knows by this path; the main program has an empty one.
std::optional<std::uintptr_t> base_of(const std::string& path);

/// True if [base + offset] lies in executable memory of the loaded module at `base`.
bool is_code(std::uintptr_t base, std::uint64_t offset);

std::string to_hex(const ModuleIdentity& identity);

}  // namespace yoke::system
