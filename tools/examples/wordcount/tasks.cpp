// Gives the task its name for the command line. Only the library holds this file: the program calls its functions.
#include <yoke/yoke.hpp>

#include "count_file.hpp"

using wordcount::count_file;
YOKE_TASK(count_file)
