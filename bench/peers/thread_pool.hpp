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
  int most_tasks = 1'000'000;   // waiting at once, in reasonable time
  bool counts_threads = true;   // false: has as many as there are tasks
};

std::unique_ptr<ThreadPool> make_condvar_pool(int threads);
std::unique_ptr<ThreadPool> make_pipe_pool(int processes);  // pipe_pool.hpp: no threads at all
std::unique_ptr<ThreadPool> make_async(int);                // std::async(std::launch::async), a thread for each task
std::unique_ptr<ThreadPool> make_asio_pool(int threads);    // only with asio
std::unique_ptr<ThreadPool> make_tbb_pool(int threads);     // only with oneTBB
std::unique_ptr<ThreadPool> make_bs_pool(int threads);      // only with BS::thread_pool

/// Those that this program was built with.
inline std::vector<ThreadPoolKind> thread_pool_kinds() {
  return {
#ifdef YOKE_BENCH_ASIO
      {"asio::thread_pool", make_asio_pool},
#endif
#ifdef YOKE_BENCH_TBB
      {"oneTBB task_arena", make_tbb_pool},
#endif
#ifdef YOKE_BENCH_BS
      {"BS::thread_pool", make_bs_pool},
#endif
      {"mutex+condvar", make_condvar_pool},      {"std::async", make_async, 5'000, false},
      {"fork and pipes", make_pipe_pool, 8'000},
  };
}

/// What would have to be done to have the others; empty: nothing.
inline std::vector<std::string> missing_thread_pools() {
  return {
#ifndef YOKE_BENCH_ASIO
      "asio::thread_pool: install libasio-dev, then meson setup --wipe (Meson remembers that a header was missing)",
#endif
#ifndef YOKE_BENCH_TBB
      "oneTBB: install libtbb-dev, then meson setup --reconfigure",
#endif
#ifndef YOKE_BENCH_BS
      "BS::thread_pool: meson configure -Dbs_thread_pool=FOLDER, where BS_thread_pool.hpp is, version 4 or newer",
#endif
  };
}

}  // namespace yoke::bench
