// Demangling, and the removal of what only a compiler wants to read.
#include "signature.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string_view>

namespace yoke::tools {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// Removes the template argument that begins with `head`, with the comma before it: ", std::allocator<int>".
void remove_argument(std::string& text, std::string_view head) {
  for (std::size_t at = 0; (at = text.find(head, at)) != std::string::npos;) {
    std::size_t end = at + head.size();
    for (int depth = 1; end < text.size() && depth > 0; ++end)
      depth += text[end] == '<' ? 1 : text[end] == '>' ? -1 : 0;
    text.erase(at, end - at);
  }
}

/// Where the parameter list of a function type begins.
std::size_t parameters_of(const std::string& type) {
  int depth = 0;
  for (std::size_t at = type.size(); at-- > 0;) {
    if (type[at] == ')') ++depth;
    if (type[at] == '(' && --depth == 0) return at;
  }
  return std::string::npos;
}

}  // namespace

std::string demangle(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, &status),
                                                         &std::free);
  if (!text) return mangled;
  std::string type = text.get();
  replace_all(type, "std::__cxx11::", "std::");
  replace_all(type, "std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string");
  replace_all(type, "std::basic_string_view<char, std::char_traits<char> >", "std::string_view");
  for (const auto head :
       {", std::allocator<", ", std::less<", ", std::hash<", ", std::equal_to<", ", std::default_delete<"})
    remove_argument(type, head);
  replace_all(type, " >", ">");
  return type;
}

std::string signature(const char* mangled, const std::string& name) {
  std::string type = demangle(mangled);
  const std::size_t at = parameters_of(type);
  if (at == std::string::npos) return name + ": " + type;
  const bool blank = at > 0 && type[at - 1] == ' ';
  return type.substr(0, blank ? at - 1 : at) + " " + name + type.substr(at);
}

}  // namespace yoke::tools
