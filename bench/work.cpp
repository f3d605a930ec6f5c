#include "bench/work.hpp"

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>

namespace yoke::bench {
namespace {

template <class Values>
double sum_of_ends(const Values& values) {
  return values.empty() ? 0 : values.front() + values.back();
}

}  // namespace

int inc(int value) { return value + 1; }
double ends_of_vector(std::vector<double> values) { return sum_of_ends(values); }
double ends_of_span(std::span<const double> values) { return sum_of_ends(values); }
int own_pid() { return ::getpid(); }

int hold_memory(int megabytes) {
  static std::unique_ptr<std::byte[]> held;
  const std::size_t size = static_cast<std::size_t>(megabytes) << 20;
  held = std::make_unique_for_overwrite<std::byte[]>(size);
  std::memset(held.get(), 1, size);
  return megabytes;
}

int spin_for_ever() {
  for (std::atomic<int> turns{0};;) turns.fetch_add(1, std::memory_order_relaxed);
}

int sleep_for_ever() {
  for (;;) ::pause();
}

}  // namespace yoke::bench
