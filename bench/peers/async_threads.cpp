// std::async with a thread for each task.
#include "bench/peers/thread_pool.hpp"

namespace yoke::bench {
namespace {

class AsyncThreads final : public ThreadPool {
 public:
  std::future<int> submit(Function function, int argument) override {
    return std::async(std::launch::async, function, argument);
  }
};

}  // namespace

std::unique_ptr<ThreadPool> make_async(int) { return std::make_unique<AsyncThreads>(); }

}  // namespace yoke::bench
