// oneTBB: tasks enqueued into an arena of their own, each with a promise.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include "bench/peers/thread_pool.hpp"

namespace yoke::bench {
namespace {

class TbbPool final : public ThreadPool {
 public:
  // The submitting thread never enters the arena. The global limit counts it too, and is one for each processor.
  explicit TbbPool(int threads)
      : limit_(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads) + 1),
        arena_(threads, 0) {}
  std::future<int> submit(Function function, int argument) override {
    auto promise = std::make_unique<std::promise<int>>();  // enqueue copies what it is given: no packaged_task
    std::future<int> future = promise->get_future();
    arena_.enqueue([owned = promise.release(), function, argument] {
      const std::unique_ptr<std::promise<int>> result(owned);
      result->set_value(function(argument));
    });
    return future;
  }

 private:
  tbb::global_control limit_;
  tbb::task_arena arena_;
};

}  // namespace

std::unique_ptr<ThreadPool> make_tbb_pool(int threads) { return std::make_unique<TbbPool>(threads); }

}  // namespace yoke::bench
