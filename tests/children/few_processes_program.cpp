// A program that, from a moment on, gets no new process: few_processes_program again|memory WORKERS. Tells on stdout
// what its pool made of it. WORKERS (0 or 1) are there before.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "yoke/yoke.hpp"

namespace {

int add_one(int value) { return value + 1; }

constexpr sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset));
}
constexpr sock_filter leave(unsigned action) { return BPF_STMT(BPF_RET | BPF_K, action); }
constexpr sock_filter skip_unless(unsigned value, unsigned char instructions) {
  return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, instructions);
}

/// Threads can be had, processes cannot: that is this error. For all threads; false where the kernel has no such
/// filters.
bool refuse_processes(int error) {
  const unsigned refused = SECCOMP_RET_ERRNO | static_cast<unsigned>(error);
  std::vector<sock_filter> program{load(offsetof(seccomp_data, nr))};
#ifdef SYS_vfork
  program.insert(program.end(), {skip_unless(SYS_vfork, 1), leave(refused)});
#endif
#ifdef SYS_fork
  program.insert(program.end(), {skip_unless(SYS_fork, 1), leave(refused)});
#endif
  // clone3 keeps its flags in memory, where no filter can look: glibc then turns to clone
  program.insert(program.end(), {skip_unless(SYS_clone3, 1), leave(SECCOMP_RET_ERRNO | ENOSYS)});
  program.insert(program.end(),
                 {skip_unless(SYS_clone, 4), load(offsetof(seccomp_data, args)),
                  BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0), leave(refused), leave(SECCOMP_RET_ALLOW)});
  program.push_back(leave(SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

int run(int error, int workers) {
  yoke::ProcessPoolExecutor pool({.max_workers = 2, .start_timeout = std::chrono::seconds(10)});
  if (workers == 1) pool.submit(add_one, 0).get();
  if (!refuse_processes(error)) {
    std::printf("no filter\n");
    return 0;
  }
  try {
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < 20; ++i) futures.push_back(pool.submit(add_one, i));
    int sum = 0;
    for (auto& future : futures) sum += future.get();
    std::printf("sum %d\n", sum);
  } catch (const std::exception& trouble) {
    std::printf("%s\n", trouble.what());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 99;
  const int status = run(argv[1] == std::string("memory") ? ENOMEM : EAGAIN, std::atoi(argv[2]));
  std::fflush(stdout);
  ::_exit(status);  // a leak checker would want a process of its own now
}
