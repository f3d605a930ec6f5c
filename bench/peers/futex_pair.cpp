#include "bench/peers/futex_pair.hpp"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace yoke::bench {
namespace {

void wake(std::atomic<std::uint32_t>& word) { ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }
std::uint32_t wait_for_change(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
  std::uint32_t now;
  while ((now = word.load(std::memory_order_acquire)) == seen)
    ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
  return now;
}

}  // namespace

FutexPair::FutexPair(Placement placement) : allowed_(), shared_(nullptr), child_(-1) {
  ::sched_getaffinity(0, sizeof allowed_, &allowed_);
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::system_category(), "mmap");
  shared_ = new (memory) Shared;
  child_ = ::fork();
  if (child_ < 0) {
    const int error = errno;
    ::munmap(memory, sizeof(Shared));
    throw std::system_error(error, std::system_category(), "fork");
  }
  if (child_ != 0) {
    if (placement == Placement::apart) separate();
    return;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (std::uint32_t seen = 0;;) {
    seen = wait_for_change(shared_->ping, seen);
    shared_->pong.store(seen, std::memory_order_release);
    wake(shared_->pong);
  }
}

/// The first processor that both may use to this thread, the last one to the child; the same one where there is one.
void FutexPair::separate() {
  int first = -1, last = -1;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &allowed_)) continue;
    if (first < 0) first = i;
    last = i;
  }
  const auto bind = [](pid_t thread, int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    ::sched_setaffinity(thread, sizeof one, &one);
  };
  bind(0, first);
  bind(child_, last);
}

FutexPair::~FutexPair() {
  ::sched_setaffinity(0, sizeof allowed_, &allowed_);
  ::kill(child_, SIGKILL);
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  ::munmap(shared_, sizeof(Shared));
}

void FutexPair::round_trip() {
  const std::uint32_t seen = shared_->pong.load(std::memory_order_relaxed);
  shared_->ping.store(seen + 1, std::memory_order_release);
  wake(shared_->ping);
  wait_for_change(shared_->pong, seen);
}

}  // namespace yoke::bench
