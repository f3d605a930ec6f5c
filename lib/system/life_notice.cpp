#include "lib/system/life_notice.hpp"

#include <linux/futex.h>

#include <system_error>

namespace yoke::system {
namespace {

void check(int error, const char* call) {
  if (error != 0) throw std::system_error(error, std::system_category(), call);
}

Word& mutable_word(pthread_mutex_t& notice) noexcept {
  // glibc's and the kernel's shared ABI: the futex of a mutex is its first word
  return reinterpret_cast<Word&>(notice);
}

}  // namespace

void hold_life_notice(pthread_mutex_t& notice) {
  pthread_mutexattr_t attributes;
  check(pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
  check(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "pthread_mutexattr_setpshared");
  check(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST), "pthread_mutexattr_setrobust");
  check(pthread_mutex_init(&notice, &attributes), "pthread_mutex_init");
  pthread_mutexattr_destroy(&attributes);
  check(pthread_mutex_lock(&notice), "pthread_mutex_lock");
  // the kernel wakes sleepers at the death only if the word says that there are some
  mutable_word(notice).fetch_or(FUTEX_WAITERS, std::memory_order_seq_cst);
}

void retract_life_notice(pthread_mutex_t& notice) noexcept {
  pthread_mutex_unlock(&notice);
  pthread_mutex_destroy(&notice);
}

const Word& life_word(const pthread_mutex_t& notice) noexcept { return reinterpret_cast<const Word&>(notice); }

bool life_ended(std::uint32_t word) noexcept { return (word & FUTEX_OWNER_DIED) != 0; }
bool life_started(std::uint32_t word) noexcept { return word != 0; }

}  // namespace yoke::system
