// stdin, stdout and stderr that were closed by whoever started the program.
#pragma once

namespace yoke::tools {

/// Puts something into their places, before any other file gets their numbers and is printed into. Reading from what
/// was closed, and writing to it, fails afterwards as it did before. First thing in main.
void occupy_standard_streams();

}  // namespace yoke::tools
