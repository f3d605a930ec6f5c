// SlurmJob: an allocation of nodes, from the request to its end, by one salloc.
//
// It runs a command here that tells the job and its nodes, and then lasts as long as its stdin, a pipe from this process. So the
// job ends with this process, however that ends; a request that waits is taken back by cancel(). The scheduler is never polled.
//
// Driven by one thread, which calls proceed() when it was woken by what add_to() polls, or when next_look() has come. Nothing
// here waits.
#pragma once

#include <poll.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "lib/remote/errand.hpp"
#include "yoke/pool.hpp"
#include "yoke/remote.hpp"

namespace yoke::remote {

class SlurmJob {
 public:
  enum class Phase {
    requesting,  // salloc runs; the request may wait in the queue
    granted,     // nodes() are there
    failed,      // not granted, or taken away: see trouble()
    cancelling,  // salloc gives the nodes back
    ended
  };

  /// Asks for the nodes. Throws std::system_error if there is no salloc.
  explicit SlurmJob(const SlurmOptions& options);

  void add_to(std::vector<pollfd>& looks) const;
  void proceed();
  Clock::time_point next_look() const;
  /// Gives the nodes back, or takes the request back.
  void cancel();

  Phase phase() const noexcept { return phase_; }
  /// While it waits in the queue, what salloc says of it.
  std::string trouble() const { return phase_ == Phase::requesting && errand_ ? said() : trouble_; }
  const std::vector<std::string>& nodes() const noexcept { return nodes_; }
  /// To start an agent on a node.
  Launcher launcher() const;

 private:
  void fail(const std::string& what);
  void release();

  const SlurmOptions options_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point killed_at_ = Clock::time_point::max();
  Phase phase_ = Phase::requesting;
  std::string job_;
  /// On stderr, by salloc and Slurm.
  std::string said() const;

  std::string trouble_;
  std::vector<std::string> nodes_;
  std::unique_ptr<Errand> errand_;
};

}  // namespace yoke::remote
