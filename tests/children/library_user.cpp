// A program whose tasks live in user_library.cpp, for linking_test.sh: linked to it, or, with LATE_LIBRARY, opened when
// the pool of the program's own already runs. Prints 41.
#include <dlfcn.h>

#include <iostream>
#include <yoke/yoke.hpp>

#ifdef LATE_LIBRARY
int sum_of_library_tasks() {
  void* library = dlopen(LATE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  void* function = library ? dlsym(library, "sum_of_library_tasks") : nullptr;
  if (!function) {
    std::cerr << dlerror() << '\n';
    return -1;
  }
  return reinterpret_cast<int (*)()>(function)();
}
#else
extern "C" int sum_of_library_tasks();
#endif

int nothing() { return 0; }

int main() {
  yoke::ProcessPoolExecutor executor(1);
  std::cout << executor.submit(nothing).get() + sum_of_library_tasks() << '\n';
}
