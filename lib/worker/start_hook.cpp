// The start hook: a program that links the library becomes a worker without a line in its main.
//
// Defines __libc_start_main, which crt1.o calls: it passes on to libc's own with a main of ours, which runs after all
// static objects are constructed. In a fully static link there is no next definition to pass on to; there this file's
// is not linked, and programs call yoke::init.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "lib/worker/worker_process.hpp"
#include "yoke/export.hpp"

namespace {

using Main = int (*)(int, char**, char**);
using StartMain = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);

Main program_main = nullptr;

int hooked_main(int argc, char** argv, char** environment) {
  yoke::worker::note_hook_ran();
  if (yoke::worker::start_pending()) yoke::worker::run();
  return program_main(argc, argv, environment);
}

}  // namespace

extern "C" YOKE_API int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                                          void (*rtld_fini)(), void* stack_end) {
  program_main = main;
  const auto next = reinterpret_cast<StartMain>(dlsym(RTLD_NEXT, "__libc_start_main"));
  if (!next) {
    static constexpr char text[] = "yoke: libc's __libc_start_main was not found; is this a fully static program?\n";
    if (::write(2, text, sizeof text - 1) < 0) ::_exit(126);
    ::_exit(127);
  }
  return next(hooked_main, argc, argv, init, fini, rtld_fini, stack_end);
}
