// A program that may no longer signal its workers: nobody_program drop|exec|filter. Tells on stdout what its pool made
// of it.
//   drop    as root: uses a pool, then becomes nobody; the worker that there is stays root's
//   exec    becomes nobody; a task becomes root by a set-user-ID program, the second argument
//   filter  forbids pidfd_send_signal to itself, and so to its workers
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

#include "yoke/yoke.hpp"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

namespace {

constexpr unsigned nobody = 65534;

int worker_pid() { return ::getpid(); }
int hang() {
  for (;;) ::pause();
}
int become_root(const std::string& program) {
  ::execl(program.c_str(), program.c_str(), static_cast<char*>(nullptr));
  return errno;
}

bool drop_rights() { return ::setgroups(0, nullptr) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0; }

bool forbid_signals_by_pidfd() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_send_signal, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof code / sizeof code[0], code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/// How a task ends that does not by itself, in one line.
template <class... Call>
std::string end_of(yoke::ProcessPoolExecutor& pool, Call&&... call) {
  try {
    pool.submit({.timeout = std::chrono::milliseconds(200)}, std::forward<Call>(call)...).get();
    return "returned";
  } catch (const yoke::TimeoutError&) {
    return "timeout";
  } catch (const std::exception& error) {
    std::string text = error.what();
    for (char& c : text)
      if (c == '\n') c = ' ';
    return text;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "filter" && !forbid_signals_by_pidfd()) {
    std::puts("no filter");
    return 0;
  }
  if (what == "exec" && !drop_rights()) return 1;
  yoke::ProcessPoolExecutor pool(
      {.max_workers = 1, .new_privileges = what == "exec", .kill_grace = std::chrono::milliseconds(300)});
  std::printf("%d\n", pool.submit(worker_pid).get());
  if (what == "drop" && !drop_rights()) return 1;
  std::printf("%s\n", (what == "exec" ? end_of(pool, become_root, std::string(argv[2])) : end_of(pool, hang)).c_str());
  std::printf("next %s\n", pool.submit(worker_pid).get() > 0 ? "runs" : "does not");
  pool.shutdown();
  std::puts("shut down");
}
