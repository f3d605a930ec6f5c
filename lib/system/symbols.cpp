#include "lib/system/symbols.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>

// One state for the process: without it every frame reads all debug information again, and keeps it.
#define BOOST_STACKTRACE_USE_BACKTRACE
#define BOOST_STACKTRACE_BACKTRACE_FORCE_STATIC
#include <boost/stacktrace/frame.hpp>
#include <cstdlib>
#include <memory>
#include <mutex>

namespace yoke::system {
namespace {

std::mutex& lookup_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
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
        {"std::__cxx11::", "std::"}}) {
    for (auto at = name.find(longer); at != std::string::npos; at = name.find(longer, at + shorter.size()))
      name.replace(at, longer.size(), shorter);
  }
  while (!name.empty() && name.back() == ' ') name.pop_back();
  return name;
}

}  // namespace

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                         &std::free);
  return tidy(status == 0 && text ? text.get() : name);
}

std::string function_name(const void* address) {
  const std::lock_guard lock(lookup_mutex());
  const std::string name = boost::stacktrace::frame(address).name();
  return name.starts_with("0x") ? std::string() : tidy(name);
}

std::string describe_code(const void* address) {
  const std::lock_guard lock(lookup_mutex());
  const boost::stacktrace::frame frame(address);
  const std::string name = tidy(frame.name());
  if (const auto line = frame.source_line(); line != 0) return fmt::format("{} at {}:{}", name, frame.source_file(), line);
  Dl_info info{};
  if (dladdr(address, &info) == 0 || !info.dli_fname) return name;
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  if (name.empty() || name.starts_with("0x")) return fmt::format("{}+{:#x}", info.dli_fname, offset);
  return fmt::format("{} in {}+{:#x}", name, info.dli_fname, offset);
}

}  // namespace yoke::system
