// A library with one task, whose name may be left out on the command line.
#include <string>
#include <yoke/yoke.hpp>

std::size_t length(const std::string& text) { return text.size(); }
YOKE_TASK(length)
