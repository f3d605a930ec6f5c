// A task's signature as a person would write it.
#pragma once

#include <string>
#include <typeinfo>

namespace yoke::tools {

/// The type that the compiler writes as `mangled`; the text itself if it is no type.
std::string demangle(const char* mangled);
inline std::string type_name(const std::type_info& type) { return demangle(type.name()); }

/// "double mean(std::vector<double> const&)", of the mangled function type and the task's name.
std::string signature(const char* mangled, const std::string& name);

}  // namespace yoke::tools
