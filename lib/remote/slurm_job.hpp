// SlurmJob: an allocation of nodes, from the request to its end, by one salloc.
//
// It runs a command here that tells the job and its nodes, and then lasts as long as its stdin, a pipe from this
// process. So the job ends with this process, however that ends; a request that waits is taken back by cancel(). The
// scheduler is never polled. A salloc that is killed leaves its job behind: its nodes serve on, and the job is
// cancelled by its number, by that command or from here.
//
// Driven by one thread, which calls proceed() when it was woken by what add_to() polls, or when next_look() has come.
// Nothing here waits.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/system/captured_command.hpp"
#include "yoke/pool.hpp"
#include "yoke/remote.hpp"

namespace yoke::remote {

class SlurmJob {
 public:
  enum class Phase {
    requesting,  // salloc runs; the request may wait in the queue
    granted,  // nodes() are there
    failed,  // not granted, or taken away: see trouble()
    cancelling,  // salloc gives the nodes back
    ended
  };

  /// Asks for the nodes. Throws std::system_error if there is no salloc.
  explicit SlurmJob(const SlurmOptions& options);

  void add_to(system::Poller& poller) const;
  void proceed();
  Clock::time_point next_look() const;
  /// Gives the nodes back, or takes the request back.
  void cancel();

  Phase phase() const noexcept { return phase_; }
  /// While it waits in the queue, what salloc says of it.
  std::string trouble() const { return phase_ == Phase::requesting && command_ ? said() : trouble_; }
  struct Node {
    std::string name;
    std::optional<int> processors;  // of the job there
  };
  const std::vector<Node>& nodes() const noexcept { return nodes_; }
  /// To start an agent on a node.
  Launcher launcher() const;

 private:
  void listen();
  void take_nodes(const std::string& words);
  void take_end(const system::ExitStatus& status);
  void fail(const std::string& what);
  void release();
  void cancel_by_number();
  /// On stderr, by salloc and Slurm.
  std::string said() const;

  const SlurmOptions options_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point killed_at_ = Clock::time_point::max();
  Phase phase_ = Phase::requesting;
  std::string job_;
  std::string trouble_;
  std::vector<Node> nodes_;
  std::unique_ptr<system::CapturedCommand> command_;  // salloc
  std::unique_ptr<system::CapturedCommand> scancel_;  // where salloc is gone and the job is not
};

/// What Slurm has set in this process's environment, if this is a step of a job: srun and salloc would take it for
/// options of theirs. Those that say where Slurm is, and how to log in, are not among them.
std::vector<std::string> variables_of_outer_step();
/// Of these, what binds this process to its processors and memory.
std::vector<std::string> bindings_of_outer_step();

}  // namespace yoke::remote
