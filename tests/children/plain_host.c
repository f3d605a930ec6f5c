/* A host in plain C that knows nothing of the library, for linking_test.sh: opens a plug-in and prints what it says. With
   a second argument it removes the plug-in's file first. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char** argv) {
  void* const plug_in = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (argc > 2) remove(argv[1]);
  const char* (*try_workers)(void) = NULL;
  if (plug_in) *(void**)&try_workers = dlsym(plug_in, "try_workers");
  if (!try_workers) {
    puts(dlerror());
    return 1;
  }
  puts(try_workers());
  dlclose(plug_in);
  if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD)) puts("the plug-in stays loaded");
  return 0;
}
