#include "lib/worker/lifeline.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <climits>

#include "lib/system/life_notice.hpp"
#include "lib/system/memfd.hpp"
#include "lib/system/thread.hpp"

namespace yoke::worker {
namespace {

void* wait_for_parents_end(void* notice) {
  const system::Word& word = system::life_word(*static_cast<const pthread_mutex_t*>(notice));
  for (;;) {
    const std::uint32_t seen = word.load(std::memory_order_acquire);
    if (system::life_ended(seen)) break;
    system::futex_wait(word, seen, system::Sharing::shared);
  }
  // The worker leads its process group: what its tasks have started goes with it.
  if (::getpgrp() == ::getpid()) ::kill(0, SIGKILL);
  ::kill(::getpid(), SIGKILL);
  return nullptr;
}

}  // namespace

void start_lifeline(system::UniqueFd parent_life) {
  static system::Mapping& page =  // mapped as long as the process lives
      *new system::Mapping(parent_life.get(), sizeof(pthread_mutex_t), system::Access::read_only);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, static_cast<std::size_t>(sysconf(_SC_THREAD_STACK_MIN)) + 16 * 1024);
  pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const system::SignalsBlocked blocked;  // inherited: the program's handlers run on its own threads
  const int error = pthread_create(&thread, &small, &wait_for_parents_end, page.data());
  pthread_attr_destroy(&small);
  if (error != 0) throw std::system_error(error, std::system_category(), "starting the lifeline thread");
  pthread_setname_np(thread, "yoke-lifeline");
}

}  // namespace yoke::worker
