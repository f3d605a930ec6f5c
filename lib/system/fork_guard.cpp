#include "lib/system/fork_guard.hpp"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

namespace yoke::system {
namespace {

std::atomic<unsigned> generation{0};
std::atomic<pid_t> pid{0};  // 0: to be asked for

void note_fork() noexcept {
  generation.fetch_add(1);
  pid.store(0);
}

}  // namespace

unsigned fork_generation() noexcept {
  static const bool registered = pthread_atfork(nullptr, nullptr, note_fork) == 0;
  static_cast<void>(registered);
  return generation.load(std::memory_order_relaxed);
}

pid_t own_pid() noexcept {
  fork_generation();  // from now on forks are noted
  pid_t known = pid.load(std::memory_order_relaxed);
  if (known == 0) pid.store(known = ::getpid(), std::memory_order_relaxed);
  return known;
}

}  // namespace yoke::system
