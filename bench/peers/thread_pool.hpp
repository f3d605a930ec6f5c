// The thread pools that the library is compared with, behind one face: a task is an int function of an int, and each
// has a std::future of its own. The virtual call adds 2 ns to a task of hundreds.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <vector>

namespace yoke::bench {

class ThreadPool {
 public:
  using Function = int (*)(int);
  ThreadPool() = default;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  virtual ~ThreadPool() = default;  // ends the threads
  virtual std::future<int> submit(Function function, int argument) = 0;
};

struct ThreadPoolKind {
  std::string name;
  std::unique_ptr<ThreadPool> (*make)(int threads);
};

std::unique_ptr<ThreadPool> make_condvar_pool(int threads);
std::unique_ptr<ThreadPool> make_asio_pool(int threads);  // only with asio
std::unique_ptr<ThreadPool> make_tbb_pool(int threads);   // only with oneTBB

/// Those that this program was built with.
inline std::vector<ThreadPoolKind> thread_pool_kinds() {
  return {
#ifdef YOKE_BENCH_ASIO
      {"asio::thread_pool", make_asio_pool},
#endif
#ifdef YOKE_BENCH_TBB
      {"oneTBB task_arena", make_tbb_pool},
#endif
      {"mutex+condvar", make_condvar_pool},
  };
}

}  // namespace yoke::bench
