#include "lib/system/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#ifdef YOKE_BACKTRACE_HEADER
#include YOKE_BACKTRACE_HEADER
#else
#include <backtrace.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "lib/system/environment.hpp"
#include "lib/system/fork_guard.hpp"
#include "lib/system/modules.hpp"

namespace yoke::system {
namespace {

enum class CodeLevel { function, inlined };

/// One for the process, as what libbacktrace has read is.
std::mutex& lookup_mutex() {
  static auto* const mutex = [] {
    auto* const made = new std::mutex;
    hold_over_forks(ForkOrder::symbols, *made);
    return made;
  }();
  return *mutex;
}
[[maybe_unused]] const std::mutex& made_at_load = lookup_mutex();

void ignore_error(void*, const char*, int) {}

/// All that libbacktrace has read, megabytes that it never gives back. So there is one for the process, where
/// Boost.Stacktrace has one a thread; it knows the modules of its first use, and is made anew when more were loaded.
backtrace_state* debug_information() {
  static backtrace_state* state = nullptr;
  static unsigned long long known = 0;
  unsigned long long loaded = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* count) {
        *static_cast<unsigned long long*>(count) = module->dlpi_adds;
        return 1;
      },
      &loaded);
  if (!state || loaded != known) {
    static auto* const program = new std::string;  // it keeps the pointer
    // It looks for /proc/self/exe, which is the loader where that was told to run the program, and nothing once main
    // has ended by pthread_exit.
    if (started_by_loader())
      *program = main_module().path;
    else if (::access("/proc/self/exe", R_OK) != 0)
      *program = "/proc/thread-self/exe";
    state = backtrace_create_state(program->empty() ? nullptr : program->c_str(), 0, &ignore_error, nullptr);
  }
  known = loaded;
  return state;
}

struct CodePlace {
  std::string function;
  std::string file;
  int line = 0;
  CodeLevel level = CodeLevel::function;
};

/// What debug information and symbol tables tell; of calls that were inlined, the function that they are in, or the
/// innermost of them. Locked.
CodePlace look_up(const void* address, CodeLevel level = CodeLevel::function) {
  CodePlace place;
  place.level = level;
  const auto pc = reinterpret_cast<std::uintptr_t>(address);
  backtrace_state* const state = debug_information();
  if (!state) return place;
  backtrace_pcinfo(
      state, pc,
      [](void* found, std::uintptr_t, const char* file, int line, const char* function) {
        auto& at = *static_cast<CodePlace*>(found);
        if (function) at.function = function;
        if (file) at.file = file;
        at.line = line;
        return at.level == CodeLevel::inlined ? 1 : 0;  // the innermost comes first
      },
      &ignore_error, &place);
  if (level == CodeLevel::inlined) return place;
  backtrace_syminfo(
      state, pc,
      [](void* found, std::uintptr_t, const char* symbol, std::uintptr_t, std::uintptr_t) {
        if (symbol) static_cast<CodePlace*>(found)->function = symbol;
      },
      &ignore_error, &place);
  return place;
}

/// Without the parts that no reader of a crash report needs.
std::string tidy(std::string name) {
  for (const std::string_view noise : {"[clone .constprop.0]", "[clone .isra.0]", "[clone .part.0]", "[clone .cold]"}) {
    if (const auto at = name.find(noise); at != std::string::npos) name.erase(at, noise.size());
  }
  for (const auto& [longer, shorter] :
       {std::pair<std::string_view, std::string_view>{
            "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string"},
        {"std::basic_string_view<char, std::char_traits<char> >", "std::string_view"},
        {"std::__cxx11::", "std::"},
        {"std::string >", "std::string>"},  // the blank kept ">>" apart
        {"std::string_view >", "std::string_view>"}}) {
    for (auto at = name.find(longer); at != std::string::npos; at = name.find(longer, at + shorter.size()))
      name.replace(at, longer.size(), shorter);
  }
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

/// dladdr waits for the loader's lock, whose holder, in a constructor of a plug-in, may wait for one of the library's
/// own threads: so these do not ask, and nobody asks while it holds a lock that they take.
bool ask_loader(const void* address, Dl_info& info) { return !on_own_thread() && dladdr(address, &info) != 0; }

}  // namespace

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                         &std::free);
  return tidy(status == 0 && text ? text.get() : name);
}

std::string function_name(const void* address) {
  Dl_info info{};
  if (ask_loader(address, info) && info.dli_sname) return demangle(info.dli_sname);
  const std::lock_guard lock(lookup_mutex());
  const CodePlace place = look_up(address);
  return place.function.empty() ? std::string() : demangle(place.function.c_str());
}

std::string describe_inlined_code(const void* address) {
  const std::lock_guard lock(lookup_mutex());
  const CodePlace place = look_up(address, CodeLevel::inlined);
  if (place.line == 0 || place.function.empty()) return {};
  return fmt::format("{} at {}:{}", demangle(place.function.c_str()), place.file, place.line);
}

std::string describe_code(const void* address) {
  const std::string name = function_name(address);
  {
    const std::lock_guard lock(lookup_mutex());
    if (const CodePlace place = look_up(address); place.line != 0)
      return fmt::format("{} at {}:{}", name, place.file, place.line);
  }
  Dl_info info{};
  if (!ask_loader(address, info) || !info.dli_fname) return name;
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  if (name.empty()) return fmt::format("{}+{:#x}", info.dli_fname, offset);
  return fmt::format("{} in {}+{:#x}", name, info.dli_fname, offset);
}

}  // namespace yoke::system
