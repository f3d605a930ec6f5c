/* A host in plain C that knows nothing of the library, for linking_test.sh: opens a plug-in and prints what it says. With
   a second argument it removes the plug-in's file first. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static void* say(void* function) {
  puts((*(const char* (**)(void))function)());
  return NULL;
}

int main(int argc, char** argv) {
  void* const plug_in = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (argc > 2) remove(argv[1]);
  const char* (*try_workers)(void) = NULL;
  if (plug_in) *(void**)&try_workers = dlsym(plug_in, "try_workers");
  if (!try_workers) {
    puts(dlerror());
    return 1;
  }
  /* On a thread that is over when the plug-in is closed: what a living thread has to destroy would keep that loaded. */
  pthread_t thread;
  if (pthread_create(&thread, NULL, say, &try_workers) != 0 || pthread_join(thread, NULL) != 0) return 1;
  dlclose(plug_in);
  if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD)) puts("the plug-in stays loaded");
  return 0;
}
