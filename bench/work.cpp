#include "bench/work.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

#include "bench/measure.hpp"

namespace yoke::bench {
namespace {

template <class Values>
auto sum_of_ends(const Values& values) {
  using Sum = decltype(values.front() + values.back());
  return values.empty() ? Sum() : values.front() + values.back();
}

template <class Values>
const Values& kept(std::size_t size, typename Values::value_type value) {
  static Values values;
  if (values.size() != size) {
    values = Values();  // not both at once
    values = Values(size, value);
  }
  return values;
}

}  // namespace

int inc(int value) { return value + 1; }

int compute(int rounds) {
  std::uint64_t state = 1;
  for (int i = 0; i < rounds; ++i) state = state * 6364136223846793005U + 1442695040888963407U;
  return static_cast<int>(state >> 33);
}

int rounds_of(double microseconds) {
  static const double rounds_per_microsecond = [] {
    constexpr int rounds = 1'000'000;
    int (*volatile function)(int) = compute;
    double best = 1e9;  // of several: what others did meanwhile is no work
    for (int i = 0; i < 20; ++i) {
      const Stopwatch watch;
      function(rounds);
      best = std::min(best, watch.seconds() * 1e6);
    }
    return rounds / best;
  }();
  return static_cast<int>(microseconds * rounds_per_microsecond);
}

int sleep_microseconds(int microseconds) {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  return microseconds;
}

double ends_of_vector(std::vector<double> values) { return sum_of_ends(values); }
double ends_of_span(std::span<const double> values) { return sum_of_ends(values); }
int ends_of_string(std::string text) { return sum_of_ends(text); }
int ends_of_view(std::string_view text) { return sum_of_ends(text); }
double ends_of_shared(SharedArray<double> values) { return sum_of_ends(values.span()); }
int inc_beside(int value, SharedArray<double> values) {
  return value + 1 + static_cast<int>(sum_of_ends(values.span()));
}
const std::vector<double>& kept_vector(std::size_t size) { return kept<std::vector<double>>(size, 1.5); }
const std::string& kept_string(std::size_t size) { return kept<std::string>(size, 'x'); }
const SharedArray<double>& kept_shared(std::size_t size) {
  static SharedArray<double> values;
  if (values.size() != size) values = SharedArray<double>(size);
  return values;
}

int own_pid() { return ::getpid(); }

int hold_memory(int megabytes) {
  static std::unique_ptr<std::byte[]> held;
  const std::size_t size = static_cast<std::size_t>(megabytes) << 20;
  held = std::make_unique_for_overwrite<std::byte[]>(size);
  std::memset(held.get(), 1, size);
  return megabytes;
}

int wait_at_gate(int pid, int descriptor) {
  const int gate = ::open(fmt::format("/proc/{}/fd/{}", pid, descriptor).c_str(), O_RDONLY | O_CLOEXEC);
  if (gate < 0) throw std::system_error(errno, std::system_category(), "open the gate's pipe");
  char byte;
  ssize_t n;
  do n = ::read(gate, &byte, 1);
  while (n < 0 && errno == EINTR);
  ::close(gate);
  return static_cast<int>(n);
}

int spin_for_ever() {
  for (std::atomic<int> turns{0};;) turns.fetch_add(1, std::memory_order_relaxed);
}

int sleep_for_ever() {
  for (;;) ::pause();
}

}  // namespace yoke::bench
