#include "lib/pool/all_pools.hpp"

#include <mutex>
#include <vector>

#include "lib/system/fork_guard.hpp"

namespace yoke::pool {
namespace {

struct KnownPool {
  std::weak_ptr<Pool> pool;
  AtEnd at_end;
  std::shared_ptr<Pool> of_parent;  // in a fork
};
struct AllPools {
  std::mutex mutex;
  std::vector<KnownPool> pools;
  std::size_t look_at = 16;  // pools: for those that have gone
};

AllPools& all_pools();
void keep_those_of_parent() {
  for (KnownPool& known : all_pools().pools)
    if (!known.of_parent) known.of_parent = known.pool.lock();
}

AllPools& all_pools() {
  static auto* const all = [] {
    auto* const made = new AllPools;
    system::hold_over_forks(system::ForkOrder::all_pools, made->mutex, keep_those_of_parent);
    return made;
  }();
  return *all;
}
[[maybe_unused]] const AllPools& made_at_load = all_pools();

}  // namespace

void remember_pool(const std::shared_ptr<Pool>& pool, AtEnd at_end) {
  auto& all = all_pools();
  const std::lock_guard lock(all.mutex);
  if (all.pools.size() >= all.look_at) {
    std::erase_if(all.pools, [](const KnownPool& known) { return known.pool.expired(); });
    all.look_at = 2 * all.pools.size() + 16;
  }
  all.pools.push_back({pool, at_end, {}});
}

void shut_down_all_pools() {
  std::vector<std::shared_ptr<Pool>> pools;
  {
    auto& all = all_pools();
    const std::lock_guard lock(all.mutex);
    for (const KnownPool& known : all.pools)
      if (auto pool = known.pool.lock(); pool && known.at_end == AtEnd::finish) pools.push_back(std::move(pool));
  }
  for (const auto& pool : pools) pool->shutdown({.wait = false});
  for (const auto& pool : pools) pool->shutdown({.wait = true});
}

}  // namespace yoke::pool
