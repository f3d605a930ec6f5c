// asio::thread_pool with a packaged_task posted for each task.
#include <asio/post.hpp>
#include <asio/thread_pool.hpp>

#include "bench/peers/thread_pool.hpp"

namespace yoke::bench {
namespace {

class AsioPool final : public ThreadPool {
 public:
  explicit AsioPool(int threads) : pool_(static_cast<std::size_t>(threads)) {}
  ~AsioPool() override { pool_.join(); }
  std::future<int> submit(Function function, int argument) override {
    std::packaged_task<int()> task([function, argument] { return function(argument); });
    std::future<int> future = task.get_future();
    asio::post(pool_, std::move(task));
    return future;
  }

 private:
  asio::thread_pool pool_;
};

}  // namespace

std::unique_ptr<ThreadPool> make_asio_pool(int threads) { return std::make_unique<AsioPool>(threads); }

}  // namespace yoke::bench
