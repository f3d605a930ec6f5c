// Pools on other machines: the calls of a process pool, with workers on hosts that one can log in to, on the nodes of a
// Slurm job, in containers, or wherever a command leads.
//
//   yoke::Executor far(std::make_shared<yoke::RemotePool>(yoke::RemoteOptions{.hosts = {{"n1"}, {"n2"}}}));
//   auto future = far.submit(simulate, 42);
//
// On each host an agent runs: this program, started by a launcher such as ssh, with pipes as its stdin and stdout. It
// needs no port. It runs a process pool of its own there, and ends with all its workers when the stream ends, or when
// it hears nothing for longer than its lease allows.
//
// Threads: every call may come from any thread. Nothing waits for a host but shutdown({.wait = true}), cancel of a task
// that a host has (at most until the host counts as lost), and connect. Failure: a worker's death costs the task that
// it ran, as on this machine. When a host is lost, its tasks may have run or may still run somewhere: they go to other
// hosts only if TaskOptions::retries allows it, and fail with LostHostError otherwise. Ownership: the agents end with
// the pool: when the last handle is gone and all tasks are done, or at the end of the program.
#pragma once

#include "yoke/language.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "yoke/error.hpp"
#include "yoke/options.hpp"
#include "yoke/pool.hpp"

namespace yoke {

namespace remote {
class Fleet;
}

/// How to start an agent: a command. These arguments, and parts of arguments, are replaced:
///   {host}           the host's name
///   {agent}          as an argument of its own: the agent's command, as several arguments
///   {agent_command}  the same as one argument, quoted for the shell that will parse it on the other side: sh, csh,
///   fish...
using Launcher = std::vector<std::string>;

namespace launchers {
YOKE_API Launcher ssh();  // ssh -T {host}, and no questions asked; the user's own configuration holds
YOKE_API Launcher local();  // on this machine
YOKE_API Launcher podman(const std::string& image, const std::vector<std::string>& arguments = {});
YOKE_API Launcher docker(const std::string& image, const std::vector<std::string>& arguments = {});
/// Never tried against a cluster.
YOKE_API Launcher kubectl(const std::string& image, const std::vector<std::string>& arguments = {});
}  // namespace launchers

struct Host {
  std::string name;
  Launcher launcher{};  // empty: RemoteOptions::launcher
  std::optional<int> workers{};  // empty: RemoteOptions::workers_per_host
};

/// An allocation of nodes: an agent on each, with as many workers as the job has processors there. Whole nodes are
/// asked for (--exclusive), unless the arguments say how much of them.
struct SlurmOptions {
  int nodes = 1;
  std::string partition{};  // empty: Slurm's default
  std::vector<std::string> arguments{};  // more of them for salloc, such as --time=10:00
  std::optional<std::chrono::seconds> queue_timeout{};  // from the request to the allocation; empty: any time
};

/// A line that a worker wrote.
struct OutputLine {
  std::string host;
  int rank = 0;  // of the worker on that host
  bool is_stderr = false;
  std::string text;  // without the newline
};

struct RemoteOptions {
  std::vector<Host> hosts{};
  std::optional<SlurmOptions> slurm{};  // more hosts: the nodes of a job
  Launcher launcher = launchers::ssh();  // for hosts without one of their own
  std::optional<int> workers_per_host{};  // empty: as many as the host's cpu_count()
  ExecutorOptions worker{};  // of the pool on each host; max_workers is not read, nor are reducers and observer
  std::string program{};  // path of this program on the hosts; empty: the same as here
  bool deploy = false;  // send this program, and the libraries that it needs beyond glibc's, where it is missing
  bool require_all_hosts = false;  // true: a host that cannot be started breaks the pool. false: only when none is left
  // From a launch to the agent's first word, at most; time in a queue does not count. Further tries get less.
  std::chrono::milliseconds start_timeout{60'000};
  std::chrono::milliseconds heartbeat{1'000};
  // A cut of the network that is no longer loses nothing. A side that hears nothing for twice as long, and a few
  // heartbeats, takes the other for lost: so late may TCP send again after a cut of that length.
  std::chrono::milliseconds lease{9'000};
  // A host that was lost, or could not be started, is tried again and again while the pool lives. With none that
  // serves, the pool is given up when each has been tried for so long.
  std::chrono::milliseconds reconnect_for{60'000};
  std::function<void(const OutputLine&)>
      on_output{};  // what workers print, on the callback thread; empty: nothing is shown
};

/// Prints it behind "host/rank: ", on stdout or stderr.
YOKE_API void print_output(const OutputLine& line);

enum class HostState {
  waiting,  // to be started: with the first task, again after a loss or a failed start, or when Slurm's queue grants it
  starting,  // its launcher runs; the agent has not spoken yet
  serving,  // takes tasks
  ended  // will not be used again: its program is not there, or the pool is over
};

/// What a pool knows of one of its hosts.
struct HostInfo {
  std::string name;  // of a Slurm job whose nodes are not known yet: "slurm"
  HostState state = HostState::waiting;
  int workers = 0;  // while it serves
  int tasks = 0;  // that it has
  std::string
      trouble{};  // why it was lost, or could not be started, last; of a queue, what salloc says; empty: nothing
};

/// A host was lost with this task on it: the connection broke, or nothing was heard for longer than the lease allows.
class YOKE_API LostHostError : public TerminatedWorkerError {
 public:
  LostHostError(const std::string& text, WorkerDeath death) : TerminatedWorkerError(text, std::move(death)) {}
  ~LostHostError() override;
  const std::string& host() const noexcept { return death().host; }
};

class YOKE_API RemotePool final : public Pool {
 public:
  /// Starts nothing. Throws std::invalid_argument for options that make no sense.
  explicit RemotePool(RemoteOptions options);
  ~RemotePool() override;

  /// Starts the agents now rather than with the first task, and waits until `hosts` of them serve (0: all that may be
  /// hoped for), or the timeout has passed. How many do. Throws BrokenProcessPool if the pool cannot go on.
  int connect(std::chrono::milliseconds timeout, int hosts = 0);
  /// All hosts: which serve, which do not, and why. Waits for nobody.
  std::vector<HostInfo> hosts() const;

  void submit(TaskPtr task) override;
  /// Of a task that a host has: asks the host, and waits for its answer, at most until the host counts as lost.
  bool cancel(Task& task, CancelMode mode) override;
  /// As the host told; it tells of tasks that run for longer than some hundredths of a second.
  bool running(const Task& task) const override;
  void wait(const Task& task, Deadline deadline) override;
  bool accepting() const override;
  void shutdown(const ShutdownOptions& options) override;
  /// Of all hosts together; each gets its share, one at least.
  void resize(int max_workers) override;
  int max_workers() const override;  // of the hosts that serve; before, as far as the options tell
  /// Counts of deaths and workers are the hosts' latest, told with each heartbeat.
  Stats stats() const override;

 private:
  std::shared_ptr<Pool> pool_;  // with YOKE_IN_PROCESS=1 in the environment, one in this process
  std::shared_ptr<remote::Fleet> fleet_;
};

/// Hosts as the command line names them: "ssh:host1,host2", "slurm:nodes=3,partition=debug", "local",
/// "command:podman run -i image {agent}". Adds to `options`. Throws std::invalid_argument.
YOKE_API void add_hosts(RemoteOptions& options, const std::string& place);

}  // namespace yoke
