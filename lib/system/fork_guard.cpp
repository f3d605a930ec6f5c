#include "lib/system/fork_guard.hpp"

#include <pthread.h>

#include <atomic>

namespace yoke::system {
namespace {

std::atomic<unsigned> generation{0};

}  // namespace

unsigned fork_generation() noexcept {
  static const bool registered = pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); }) == 0;
  static_cast<void>(registered);
  return generation.load(std::memory_order_relaxed);
}

}  // namespace yoke::system
