// A library as if it had been compiled with the headers of another version of yoke.
#include <string>
#include <yoke/yoke.hpp>

#undef YOKE_VERSION
#define YOKE_VERSION "99.1.2"

std::size_t length(const std::string& text) { return text.size(); }
YOKE_TASK(length)
