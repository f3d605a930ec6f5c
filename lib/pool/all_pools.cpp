#include "lib/pool/all_pools.hpp"

#include <mutex>
#include <vector>

namespace yoke::pool {
namespace {

struct AllPools {
  std::mutex mutex;
  std::vector<std::weak_ptr<Pool>> pools;
};
AllPools& all_pools() {
  static auto* all = new AllPools;
  return *all;
}

}  // namespace

void remember_pool(const std::shared_ptr<Pool>& pool) {
  auto& all = all_pools();
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.pools, [](const auto& weak) { return weak.expired(); });
  all.pools.push_back(pool);
}

void shut_down_all_pools() {
  std::vector<std::shared_ptr<Pool>> pools;
  {
    auto& all = all_pools();
    const std::lock_guard lock(all.mutex);
    for (const auto& weak : all.pools)
      if (auto pool = weak.lock()) pools.push_back(std::move(pool));
  }
  for (const auto& pool : pools) pool->shutdown({.wait = false});
  for (const auto& pool : pools) pool->shutdown({.wait = true});
}

}  // namespace yoke::pool
