#include "lib/worker/lifeline.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <iterator>

#include "lib/system/life_notice.hpp"
#include "lib/system/memfd.hpp"
#include "lib/system/thread.hpp"

namespace yoke::worker {
namespace {

/// The kernel's own notice of the parent's end, in place of the SIGKILL that it was at the start: SIGKILL often came
/// before the thread below could run, and then nobody ended the worker's group. After an exec it still ends the
/// process.
const int parent_ended_signal = SIGRTMAX - 1;

std::atomic<pid_t> lifeline_thread{0};

/// The worker leads its process group: what its tasks have started goes with it.
void end_group() noexcept {
  if (::getpgrp() == ::getpid()) ::kill(0, SIGKILL);
  ::kill(::getpid(), SIGKILL);
  ::_exit(128 + SIGKILL);  // where a filter forbids kill
}

void watch_for_signal() {
  struct sigaction action{};
  action.sa_handler = [](int) { end_group(); };
  action.sa_flags = SA_ONSTACK;
  sigfillset(&action.sa_mask);
  if (::sigaction(parent_ended_signal, &action, nullptr) != 0 || ::prctl(PR_SET_PDEATHSIG, parent_ended_signal) != 0)
    throw std::system_error(errno, std::system_category(), "asking for the notice of the parent's end");
}

struct Watched {
  const system::Word* parent_life;
  const system::Word* end;
};

void* wait_for_parents_end(void* watched) {
  const auto [life, end] = *static_cast<const Watched*>(watched);
  lifeline_thread.store(::gettid(), std::memory_order_relaxed);
  sigset_t ended;  // this thread takes it where the tasks' threads block it
  sigemptyset(&ended);
  sigaddset(&ended, parent_ended_signal);
  pthread_sigmask(SIG_UNBLOCK, &ended, nullptr);
  // Each thread has a notice of its own, and all are sent: a stopped process must go on for the other to end it.
  ::prctl(PR_SET_PDEATHSIG, SIGCONT);
  for (;;) {
    const std::uint32_t seen = life->load(std::memory_order_acquire);
    if (system::life_ended(seen) || end->load(std::memory_order_acquire) != 0) break;
    system::futex_wait(*life, seen, system::Sharing::shared);
  }
  system::futex_wake(*life, INT_MAX, system::Sharing::shared);  // others on the same word
  end_group();
  return nullptr;
}

}  // namespace

void start_lifeline(system::UniqueFd parent_life, int rank, const system::Word& end) {
  static system::Mapping& mapping =  // mapped as long as the process lives
      *new system::Mapping(parent_life.get(), sizeof(ParentLife), system::Access::read_only);
  ParentLife& life = *reinterpret_cast<ParentLife*>(mapping.data());
  static const Watched watched{&system::life_word(life[static_cast<std::size_t>(rank) % life.size()]), &end};
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, system::stack_for(16 * 1024));
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const system::SignalsBlocked blocked;  // inherited: the program's handlers run on its own threads
  const int error = pthread_create(&thread, &small, &wait_for_parents_end, const_cast<Watched*>(&watched));
  pthread_attr_destroy(&small);
  if (error != 0) throw std::system_error(error, std::system_category(), "starting the lifeline thread");
  pthread_setname_np(thread, "yoke-lifeline");
  watch_for_signal();
}

void lifeline_follows() noexcept {
  constexpr std::size_t bits = 8 * sizeof(unsigned long);
  static int followed = -1;
  const int processor = ::sched_getcpu();
  const pid_t thread = lifeline_thread.load(std::memory_order_relaxed);
  unsigned long processors[128] = {};  // as many as Linux can be built for
  if (processor == followed || thread == 0 || processor < 0 ||
      static_cast<std::size_t>(processor) >= bits * std::size(processors))
    return;
  followed = processor;
  processors[static_cast<std::size_t>(processor) / bits] |= 1UL << (static_cast<std::size_t>(processor) % bits);
  ::syscall(SYS_sched_setaffinity, thread, sizeof processors, processors);
}

}  // namespace yoke::worker
