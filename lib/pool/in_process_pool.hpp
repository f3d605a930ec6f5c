// InProcessPool: runs tasks in this process, in order, on one thread. For debuggers, and for comparisons.
//
// The same packing, unpacking and exceptions as with workers; no protection: a task that crashes ends the program.
// Task timeouts and killing are not to be had: a running task cannot be cancelled.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "lib/pool/admission.hpp"
#include "lib/pool/backlog.hpp"
#include "lib/pool/event.hpp"
#include "yoke/pool.hpp"

namespace yoke::pool {

class InProcessPool final : public Pool {
 public:
  InProcessPool(const ExecutorOptions& options, EventSink tell);
  ~InProcessPool() override;

  void submit(TaskPtr task) override;
  bool cancel(Task& task, CancelMode mode) override;
  bool running(const Task& task) const override;
  bool accepting() const override;
  void shutdown(const ShutdownOptions& options) override;
  void resize(int max_workers) override;
  void set_paused(bool paused) override;
  int max_workers() const override;
  Stats stats() const override;

 private:
  /// What the thread works on: outlives the pool if its last handle goes in one of its own tasks.
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    Backlog backlog;
    const Task* running = nullptr;
    Admission admission;
    bool paused = false;
    bool ended = false;
    Stats counts;
    Initializer initializer;
    Reducers result_reducers;
    EventSink tell;  // empty: nobody listens
  };
  static void run(const std::shared_ptr<Shared>& shared);
  static Outcome execute(const Task& task, const Reducers& result_reducers);

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
  int max_workers_;
};

}  // namespace yoke::pool
