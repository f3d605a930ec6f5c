// The pool that everyone writes: a queue, a mutex, a condition variable, a packaged_task for each task.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "bench/peers/thread_pool.hpp"

namespace yoke::bench {
namespace {

class CondvarPool final : public ThreadPool {
 public:
  explicit CondvarPool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  ~CondvarPool() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  std::future<int> submit(Function function, int argument) override {
    std::packaged_task<int()> task([function, argument] { return function(argument); });
    std::future<int> future = task.get_future();
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(task));
    }
    changed_.notify_one();
    return future;
  }

 private:
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      std::packaged_task<int()> task = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<int()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<ThreadPool> make_condvar_pool(int threads) { return std::make_unique<CondvarPool>(threads); }

}  // namespace yoke::bench
