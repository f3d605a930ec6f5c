#include "lib/system/warm_memory.hpp"

#include <atomic>
#include <mutex>
#include <vector>

#include "lib/system/fork_guard.hpp"

namespace yoke::system::warm_memory {
namespace {

std::atomic<Store*> stores{nullptr};
std::atomic<std::size_t> keeper_count{0};

struct Keepers {
  std::mutex mutex;
  std::vector<Keeper*> all;
};
void forget_keepers();
Keepers& keepers() {
  static Keepers* const present = [] {
    auto* const made = new Keepers;  // never destroyed: pools may outlive static objects
    hold_over_forks(ForkOrder::keepers, made->mutex, forget_keepers);
    return made;
  }();
  return *present;
}
[[maybe_unused]] const Keepers& made_at_load = keepers();

/// In a fork: they were the parent's threads.
void forget_keepers() {
  keepers().all.clear();
  keeper_count.store(0, std::memory_order_relaxed);
}

}  // namespace

void enlist(Store& store) noexcept {
  store.next_ = stores.load(std::memory_order_relaxed);
  while (!stores.compare_exchange_weak(store.next_, &store, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

void join(Keeper& keeper) {
  const std::lock_guard lock(keepers().mutex);
  keepers().all.push_back(&keeper);
  keeper_count.store(keepers().all.size(), std::memory_order_relaxed);
}

void leave(Keeper& keeper) noexcept {
  const std::lock_guard lock(keepers().mutex);
  std::erase(keepers().all, &keeper);
  keeper_count.store(keepers().all.size(), std::memory_order_relaxed);
}

bool has_keeper() noexcept { return keeper_count.load(std::memory_order_relaxed) != 0; }

void tell_keepers() noexcept {
  // Where a keeper comes or goes at this very moment, it looks by itself.
  const std::unique_lock lock(keepers().mutex, std::try_to_lock);
  if (!lock) return;
  for (Keeper* keeper : keepers().all) keeper->warm_memory_came();
}

bool any() noexcept {
  for (Store* store = stores.load(std::memory_order_acquire); store; store = store->next_)
    if (!store->empty()) return true;
  return false;
}

void trim(std::chrono::steady_clock::duration age) noexcept {
  for (Store* store = stores.load(std::memory_order_acquire); store; store = store->next_) store->trim(age);
}

}  // namespace yoke::system::warm_memory
