// The start hook: a program that links the library becomes a worker, or an agent, without a line in its main.
//
// Defines __libc_start_main, which crt1.o calls: it passes on to libc's own with a main of ours, which runs after all
// static objects are constructed. The definition is weak: in a fully static link, where there is no next one to pass on
// to, libc's own takes its place, and programs call yoke::init.
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "lib/program/role.hpp"
#include "yoke/export.hpp"

namespace {

using Main = int (*)(int, char**, char**);
using StartMain = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);

Main program_main = nullptr;

#if defined(__clang__)
__attribute__((no_sanitize("function")))  // a main without parameters is called with them, as libc does
#endif
int hooked_main(int argc, char** argv, char** environment) {
  yoke::play_role();
  return program_main(argc, argv, environment);
}

}  // namespace

extern "C" YOKE_API __attribute__((weak)) int __libc_start_main(Main main, int argc, char** argv, void (*init)(),
                                                                void (*fini)(), void (*rtld_fini)(), void* stack_end) {
  // Without a dynamic loader, libc's own start was to relocate the program: nothing but a system call works here yet.
  const auto next = rtld_fini ? reinterpret_cast<StartMain>(dlsym(RTLD_NEXT, "__libc_start_main")) : nullptr;
  if (!next) {
    static constexpr char text[] =
        "yoke: this program is linked fully statically, and yoke's start was linked into it instead of libc's: put -lc "
        "before -lyoke, and call yoke::init(argc, argv) in the first line of main\n";
    ::syscall(SYS_write, 2, text, sizeof text - 1);
    ::syscall(SYS_exit_group, 127);
  }
  program_main = main;
  return next(hooked_main, argc, argv, init, fini, rtld_fini, stack_end);
}
