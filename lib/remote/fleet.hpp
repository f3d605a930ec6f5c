// Fleet: the pool behind RemotePool: a backlog, and a link to the agent on each host.
//
// Threads: any thread may call. (1) One lock guards all state, and is held for short computations and writes that do
// not wait. (2) The fleet's thread alone starts and ends carriers, reads from agents and keeps time; it sleeps in one
// poll(). What takes it time it does between two holds of the lock, each taken and given back by one function: none
// gives back a lock that its caller took. (3) A submitter writes to a link itself while the agent has little to do, so
// that a lone task waits for nobody; what comes in bulk is sent by the fleet's thread, many tasks to a frame. (4) A
// task is owned by exactly one of: the backlog, one link, or, once resolved, its futures.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/pool/admission.hpp"
#include "lib/pool/backlog.hpp"
#include "lib/pool/run_times.hpp"
#include "lib/protocol/blocks.hpp"
#include "lib/protocol/told_functions.hpp"
#include "lib/remote/deployment.hpp"
#include "lib/remote/link.hpp"
#include "lib/remote/output_queue.hpp"
#include "lib/remote/policy.hpp"
#include "lib/remote/slurm_job.hpp"
#include "lib/system/event_fd.hpp"
#include "lib/system/poller.hpp"
#include "lib/system/warm_memory.hpp"
#include "yoke/remote.hpp"

namespace yoke::remote {

class Fleet final : public Pool, public std::enable_shared_from_this<Fleet>, private system::warm_memory::Keeper {
 public:
  /// Throws std::invalid_argument. Starts nothing.
  static std::shared_ptr<Fleet> make(RemoteOptions options);
  explicit Fleet(RemoteOptions options);
  ~Fleet() override;

  int connect(std::chrono::milliseconds timeout, int hosts);
  std::vector<HostInfo> hosts() const;
  /// No task will come any more: it ends when those that it has are done. Takes no lock.
  void detach() noexcept;

  void submit(TaskPtr task) override;
  bool cancel(Task& task, CancelMode mode) override;
  bool running(const Task& task) const override;
  bool accepting() const override;
  void shutdown(const ShutdownOptions& options) override;
  void resize(int max_workers) override;
  int max_workers() const override;
  Stats stats() const override;

 private:
  using Lock = std::unique_lock<std::mutex>;

  /// What the fleet's thread does next, with no lock held.
  struct Step {
    enum class Kind { none, start, lose, end } kind = Kind::none;
    Link* link = nullptr;
    std::string why{};  // it is lost
  };
  /// What the fleet's thread sleeps on.
  struct Listening {
    struct Stream {
      Link* link;
      system::Poller::Ticket from, errors;
    };
    system::Poller poller;
    system::Poller::Ticket event = system::Poller::none;
    std::vector<Stream> streams;
    Clock::time_point until{};
  };

  // fleet.cpp: with the lock
  void start_thread();
  void wake() noexcept;
  void warm_memory_came() noexcept override { event_.signal(); }
  Link* link_of(const Task& task) const;
  static protocol::TaskNumber number_of(const Task& task) { return task.pool_word & 0xffff'ffff'ffff; }
  void fail_unfinished(const std::shared_ptr<const Failure>& failure);
  void break_pool(const std::string& why);
  void share_workers(Link& link);
  bool is_hopeful(const Link& link) const { return link.is_hopeful(Clock::now(), options_.reconnect_for); }
  bool any_is_hopeful() const;
  bool slurm_may_come() const;

  // sending.cpp: tasks to agents, with the lock
  void dispatch();
  bool will_never_run(const Task& task) const;
  void give(Link& link, TaskPtr task);
  void send_hello(Link& link);
  void flush_or_wake();

  // listening.cpp: the fleet's thread, which takes the lock itself
  void run();
  void keep_listening();
  bool prepare(Listening& listening);
  void read(Link& link);
  // what agents say, and when to look: with the lock
  bool finished() const;
  Clock::time_point next_deadline(Clock::time_point now);
  void handle(Link& link, const wire::Frame& frame);
  void take_welcome(Link& link, const protocol::Welcome& note);
  void take_result(Link& link, const protocol::ResultNote& note, Bytes bytes, const std::string& trouble = {});
  Outcome outcome_of(Link& link, const Task& task, const protocol::ResultNote& note, Bytes bytes);
  void take_cancelled(Link& link, const protocol::CancelledNote& note);
  void take_state(Link& link, protocol::StateNote note);
  void take_output(Link& link, protocol::OutputNote note);
  void output_taken(const Printed& printed);  // takes the lock: on the callback thread

  // connecting.cpp: the fleet's thread, which takes the lock itself
  void carry_out(const Step& step);
  void start(Link& link);
  void lose(Link& link, const std::string& why, std::chrono::milliseconds last_words = {});
  void end(Link& link, std::chrono::milliseconds last_words = {});
  std::vector<std::string> command_for(const Link& link, const std::string& token);
  // with the lock
  void follow_slurm();
  void beat(Clock::time_point now);
  void ask_to_stop(Clock::time_point now);
  bool is_to_end();
  bool needs_agents();
  NextStart next_to_start(Clock::time_point now) const;
  Step next_step(Clock::time_point now);
  std::string why_overdue(const Link& link, Link::Overdue what) const;
  void give_back_tasks(Link& link);
  void plan_next_start(Link& link, const Link::Loss& loss);
  void look_for_hope(const Link& link);

  const RemoteOptions options_;
  const std::chrono::milliseconds silence_;  // for so long, and a host is lost
  std::atomic<bool> detached_{false};
  std::shared_ptr<OutputQueue> output_;  // null: nobody wants it. Made before the thread
  protocol::Blocks blocks_;

  // Of the fleet's thread alone.
  Clock::time_point trims_blocks_at_{};
  std::optional<Clock::time_point> trims_at_;  // memory of messages that were sent goes back to the system
  std::optional<Deployment> deployment_;
  std::vector<std::string> unknown_options_;  // that this machine's ssh does not know

  // Guards everything below but event_. The fleet's thread alone adds links, and reads the list without it.
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // a link's phase, an answer to a cancel, the thread's end
  std::vector<std::unique_ptr<Link>> links_;
  std::unique_ptr<SlurmJob> slurm_;
  pool::Backlog backlog_;
  pool::Admission admission_;
  protocol::ToldFunctions functions_;
  protocol::TaskNumber last_number_ = 0;
  std::unordered_map<protocol::TaskNumber, std::optional<bool>> cancels_;  // asked for, and answered
  pool::RunTimes run_times_{pool::RunTimes::Outlier::whole};
  std::optional<int> total_workers_;  // by resize
  Stats counts_;

  std::thread thread_;
  bool thread_started_ = false;
  bool thread_done_ = false;
  bool joined_ = false;
  bool asleep_ = false;  // in poll, and not told to wake
  system::EventFd event_;
};

}  // namespace yoke::remote
