// BS::thread_pool, version 4 or newer.
#include <BS_thread_pool.hpp>

#include "bench/peers/thread_pool.hpp"

namespace yoke::bench {
namespace {

class BsPool final : public ThreadPool {
 public:
  explicit BsPool(int threads) : pool_(static_cast<unsigned>(threads)) {}
  std::future<int> submit(Function function, int argument) override {
    return pool_.submit_task([function, argument] { return function(argument); });
  }

 private:
  decltype(BS::thread_pool(1U)) pool_;  // a class in version 4, a template with defaults in version 5
};

}  // namespace

std::unique_ptr<ThreadPool> make_bs_pool(int threads) { return std::make_unique<BsPool>(threads); }

}  // namespace yoke::bench
