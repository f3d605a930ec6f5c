// WorkerStarter: makes a worker, its process and all that it is started with. It has no lock and needs none: the
// watchdog alone starts workers, and holds none meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lib/local/life_notices.hpp"
#include "lib/local/worker.hpp"
#include "lib/pool/worker_output.hpp"
#include "lib/system/launcher.hpp"
#include "yoke/options.hpp"

namespace yoke::local {

using pool::WorkerOutput;

/// Bytes above which a worker is to leave after a task; 0: no limit.
std::uint64_t recycle_limit(const ExecutorOptions& options);

class WorkerStarter {
 public:
  using Launch = std::function<system::ProcessHandle(const system::LaunchSpec&)>;

  /// `options` and `notices` outlive it. `output`: empty, for this process's own. `launch`: another than the system's,
  /// in tests.
  WorkerStarter(const ExecutorOptions& options, LifeNotices& notices, WorkerOutput output, Launch launch = {});

  struct Order {
    int rank = 0;
    bool reserve = false;
    std::uint32_t spin = 0;
    int max_workers = 1;
  };
  struct Started {
    std::unique_ptr<Worker> worker;  // null: it could not be started
    std::string trouble;  // why
    bool passing = false;  // the trouble may pass: for want of something that the system may have later
  };
  Started start(const Order& order) noexcept;

 private:
  std::unique_ptr<Worker> make(const Order& order);
  void give_initializer(Worker& worker) const;

  const ExecutorOptions& options_;
  LifeNotices& notices_;
  const WorkerOutput output_;
  const Launch launch_;
  const int cpus_;
};

}  // namespace yoke::local
