#include "lib/system/fork_guard.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <span>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace yoke::system {
namespace {

/// Of this process. On a page that the kernel empties in a child, since Linux 4.14 and however it is forked; pthread's
/// handler does it elsewhere. 0: not known yet.
struct Identity {
  std::atomic<unsigned> generation{0};
  std::atomic<pid_t> pid{0};
};
std::atomic<Identity*> identity{nullptr};
std::atomic<unsigned> last_generation{0};

struct Entry {
  ForkOrder order;
  void* lock;
  void (*take)(void*);
  void (*release)(void*);
  void (*release_in_child)(void*);
  void (*in_child)();
};

struct Table {
  std::mutex mutex;
  std::array<Entry, most_held_over_forks> entries{};  // sorted
  std::size_t count = 0;

  [[nodiscard]] std::span<Entry> all() { return std::span(entries).first(count); }
};
constinit Table table;

void before_fork() noexcept {
  table.mutex.lock();
  for (const Entry& entry : table.all()) entry.take(entry.lock);
}

void after_fork() noexcept {
  for (const Entry& entry : table.all()) entry.release(entry.lock);
  table.mutex.unlock();
}

void in_child() noexcept {
  Identity& known = *identity.load();
  known.generation.store(0);
  known.pid.store(0);
  for (const Entry& entry : table.all())
    if (entry.in_child) entry.in_child();
  for (const Entry& entry : table.all()) entry.release_in_child(entry.lock);
  table.mutex.unlock();
}

Identity& make_identity() noexcept {
  static Identity fallback;
  const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* const page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return fallback;
  ::madvise(page, size, MADV_WIPEONFORK);
  return *new (page) Identity;
}

Identity& known_identity() noexcept {
  Identity* known = identity.load(std::memory_order_acquire);
  if (known) return *known;
  Identity& made = make_identity();
  if (!identity.compare_exchange_strong(known, &made))
    return *known;  // where threads come first at once, a page is lost
  ::pthread_atfork(before_fork, after_fork, in_child);
  return made;
}
[[maybe_unused]] const Identity& made_at_load = known_identity();

template <class Lock>
Entry entry_of(ForkOrder order, Lock& lock, void (*in_child)()) {
  return {order,
          &lock,
          [](void* held) { static_cast<Lock*>(held)->lock(); },
          [](void* held) { static_cast<Lock*>(held)->unlock(); },
          [](void* held) { static_cast<Lock*>(held)->unlock(); },
          in_child};
}

void enlist(const Entry& entry) {
  known_identity();
  const std::lock_guard lock(table.mutex);
  if (table.count == table.entries.size())
    std::abort();  // a lock was added to the library, and there is no room for it
  auto* const end = table.entries.data() + table.count++;
  auto* const place = std::upper_bound(table.entries.data(), end, entry,
                                       [](const Entry& a, const Entry& b) { return a.order < b.order; });
  std::move_backward(place, end, end + 1);
  *place = entry;
}

}  // namespace

unsigned fork_generation() noexcept {
  auto& known = known_identity().generation;
  unsigned generation = known.load(std::memory_order_relaxed);
  if (generation != 0) return generation;
  const unsigned fresh = last_generation.fetch_add(1) + 1;
  return known.compare_exchange_strong(generation, fresh) ? fresh : generation;
}

const std::atomic<unsigned>& fork_generation_word() noexcept { return known_identity().generation; }

pid_t own_pid() noexcept {
  auto& known = known_identity().pid;
  pid_t pid = known.load(std::memory_order_relaxed);
  if (pid == 0) known.store(pid = ::getpid(), std::memory_order_relaxed);
  return pid;
}

void hold_over_forks(ForkOrder order, std::mutex& lock, void (*in_child)()) { enlist(entry_of(order, lock, in_child)); }

void hold_over_forks(ForkOrder order, std::recursive_mutex& lock) {
  Entry entry = entry_of(order, lock, nullptr);
  // It knows its owner by the thread's number, and in the child that is another.
  entry.release_in_child = [](void* held) { new (held) std::recursive_mutex; };
  enlist(entry);
}

}  // namespace yoke::system
