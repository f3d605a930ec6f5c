// A program that, from a moment on, gets no new process, or processes that get no thread:
// few_processes_program again|memory|threads|callbacks WORKERS. Tells on stdout what its pool made of it. WORKERS (0 or
// 1) are there before.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <future>
#include <string>
#include <system_error>
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

enum class What { processes, threads };

/// The others can be had, these cannot: that is this error. For all threads; false where the kernel has no such
/// filters.
bool refuse(What what, int error) {
  const unsigned refused = SECCOMP_RET_ERRNO | static_cast<unsigned>(error);
  std::vector<sock_filter> program{load(offsetof(seccomp_data, nr))};
  const bool threads = what == What::threads;
#ifdef SYS_vfork
  if (!threads) program.insert(program.end(), {skip_unless(SYS_vfork, 1), leave(refused)});
#endif
#ifdef SYS_fork
  if (!threads) program.insert(program.end(), {skip_unless(SYS_fork, 1), leave(refused)});
#endif
  // clone3 keeps its flags in memory, where no filter can look: glibc then turns to clone
  program.insert(program.end(), {skip_unless(SYS_clone3, 1), leave(SECCOMP_RET_ERRNO | ENOSYS)});
  program.insert(program.end(),
                 {skip_unless(SYS_clone, 4), load(offsetof(seccomp_data, args)),
                  BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
                  leave(threads ? SECCOMP_RET_ALLOW : refused), leave(threads ? refused : SECCOMP_RET_ALLOW)});
  program.push_back(leave(SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

int run(What what, int error, int workers) {
  const std::chrono::seconds patience(what == What::threads ? 1 : 10);
  yoke::ProcessPoolExecutor pool({.max_workers = 2, .start_timeout = patience});
  if (workers == 1) pool.submit(add_one, 0).get();
  pool.pause();
  pool.submit(add_one, 0);  // so that it has the threads of its own
  if (!refuse(what, error)) {
    std::printf("no filter\n");
    return 0;
  }
  pool.unpause();
  try {
    std::vector<yoke::Future<int>> futures;
    for (int i = 0; i < 20; ++i) futures.push_back(pool.submit(add_one, i));
    int sum = 0;
    for (auto& future : futures) sum += future.get();
    std::printf("sum %d\n", sum);
  } catch (const std::exception& trouble) {
    std::printf("%s%s\n", trouble.what(), pool.pool()->accepting() ? "; it takes tasks still" : "");
  }
  return 0;
}

/// Threads whose stack would be larger than any memory cannot be had.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    ::pthread_attr_init(&huge);
    ::pthread_attr_setstacksize(&huge, std::size_t{1} << 47);
    ::pthread_setattr_default_np(&huge);
  }
  ~NoThreads() { ::pthread_setattr_default_np(&before_); }

 private:
  pthread_attr_t before_;
};

/// A program that has no thread for callbacks yet, and can have none for a while.
int attach_without_threads() {
  yoke::ProcessPoolExecutor pool(1);
  const auto future = pool.submit(add_one, 1);
  static_cast<void>(future.result());
  int refused = 0;
  {
    const NoThreads none;
    try {
      future.add_done_callback([](const auto&) {});
    } catch (const std::system_error&) {
      ++refused;
    }
    try {
      std::future<int> standard = pool.submit(add_one, 2);
    } catch (const std::system_error&) {
      ++refused;
    }
  }
  std::promise<int> called;
  future.add_done_callback([&](const auto& done) { called.set_value(done.result()); });
  std::printf("refused %d, called with %d\n", refused, called.get_future().get());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 99;
  const std::string what = argv[1];
  const int status = what == "callbacks" ? attach_without_threads()
                                         : run(what == "threads" ? What::threads : What::processes,
                                               what == "memory" ? ENOMEM : EAGAIN, std::atoi(argv[2]));
  std::fflush(stdout);
  ::_exit(status);  // a leak checker would want a process of its own now
}
