// Threads of the library's own: named, and with all signals blocked, so that the program's handlers run on its own
// threads.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <thread>
#include <utility>

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

/// Throws std::system_error where the system gives no thread. `name`: at most 15 characters.
template <class F>
std::thread start_thread(const char* name, F run) {
  const SignalsBlocked blocked;  // inherited by the new thread
  return std::thread([name, run = std::move(run)]() mutable {
    pthread_setname_np(pthread_self(), name);
    run();
  });
}

}  // namespace yoke::system
