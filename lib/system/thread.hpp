// Threads of the library's own: known as such (environment.hpp), named, with all signals blocked, so that the program's
// handlers run on its own threads, and wherever the process may run, whichever thread happened to start them.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <utility>

#include "lib/system/environment.hpp"

namespace yoke::system {

/// Blocks every signal in the calling thread for the life of the object.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

/// Gives the calling thread the processors of the process's main thread, in place of those of the thread that made it.
inline void run_where_the_process_may() noexcept {
  unsigned long processors[128];  // as many as Linux can be built for
  const long bytes = ::syscall(SYS_sched_getaffinity, ::getpid(), sizeof processors, processors);
  if (bytes > 0) ::syscall(SYS_sched_setaffinity, 0, bytes, processors);
}

/// Bytes for a thread's stack of which the thread itself uses so many: glibc takes the static thread-local variables of
/// the program and its libraries, perhaps megabytes, from the same memory.
std::size_t stack_for(std::size_t used) noexcept;

/// Throws std::system_error where the system gives no thread. `name`: at most 15 characters.
template <class F>
std::thread start_thread(const char* name, F run) {
  const SignalsBlocked blocked;  // inherited by the new thread
  return std::thread([name, run = std::move(run)]() mutable {
    mark_own_thread();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE,
                           nullptr);  // whoever got hold of it in a callback: others wait for it
    pthread_setname_np(pthread_self(), name);
    run_where_the_process_may();
    run();
  });
}

}  // namespace yoke::system
