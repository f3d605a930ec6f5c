// D22: a program in which the start hook did not run, since the library came with dlopen. It says what its pool said.
#include <dlfcn.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) {
    std::printf("%s\n", dlerror());
    return 3;
  }
  const auto try_pool = reinterpret_cast<const char* (*)()>(dlsym(library, "try_pool"));
  if (!try_pool) return 4;
  std::printf("%s\n", try_pool());
  return 0;
}
