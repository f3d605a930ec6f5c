// Fleet: the pool behind RemotePool: a backlog, and a link to the agent on each host.
//
// Threads: any thread may call. (1) One lock guards all state, and is held for short computations and writes that do
// not wait.
// (2) The fleet's thread alone starts and ends carriers, reads from agents and keeps time; it sleeps in one poll(). (3)
// A submitter writes to a link itself while the agent has little to do, so that a lone task waits for nobody; what
// comes in bulk is sent by the fleet's thread, many tasks to a frame. (4) A task is owned by exactly one of: the
// backlog, one link, or, once resolved, its futures.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/pool/backlog.hpp"
#include "lib/protocol/blocks.hpp"
#include "lib/remote/deployment.hpp"
#include "lib/remote/link.hpp"
#include "lib/remote/output_queue.hpp"
#include "lib/remote/slurm_job.hpp"
#include "lib/system/unique_fd.hpp"
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
  void abandon() noexcept;

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

  /// Adds what agents alone can count.
  static void add_counts(Stats& to, const Stats& of);

  static constexpr std::chrono::milliseconds time_for_last_words{200};  // for a launcher to end after its stream has

  /// A function that tasks call, as links are told of it.
  struct Function {
    protocol::FunctionNote note;
    std::vector<std::uint32_t> modules;  // that it lies in
  };

  // fleet.cpp
  void check_accepting() const;
  void start_thread();
  void wake() noexcept;
  void warm_memory_came() noexcept override { ::eventfd_write(event_.get(), 1); }
  Link* link_of(const Task& task) const;
  static protocol::TaskNumber number_of(const Task& task) { return task.pool_word & 0xffff'ffff'ffff; }
  void fail_unfinished(const std::shared_ptr<const Failure>& failure);
  void break_pool(const std::string& why);
  void share_workers(Link& link);
  bool is_hopeful(const Link& link) const;

  // sending.cpp: tasks to agents
  protocol::FunctionNumber number_of(const Callable& callable, const void* target);
  void dispatch();
  Link* choose_link(const Task& task);
  std::size_t window(const Link& link) const;
  bool is_named(const Task& task) const;
  void give(Link& link, TaskPtr task);
  void introduce(Link& link, protocol::FunctionNumber function);
  protocol::BlockNumber tell_block(Link& link, const std::shared_ptr<SharedMemory>& block);
  void drop_blocks(Link& link);
  void greet(Link& link);
  void flush(Link& link);
  void flush_or_wake();

  // listening.cpp: the thread, and what agents say
  void run();
  void keep_listening(Lock& lock);
  Clock::time_point next_deadline() const;
  void read(Link& link, Lock& lock);
  void read_errors(Link& link);
  void handle(Link& link, const wire::Frame& frame);
  void send_program(Link& link);
  void take_welcome(Link& link, const protocol::Welcome& note);
  void take_result(Link& link, const protocol::ResultNote& note, Bytes bytes, const std::string& trouble = {});
  void take_output(Link& link, protocol::OutputNote note);
  void output_taken(const Printed& printed);
  bool finished() const;

  // connecting.cpp: starting agents, and losing them
  void start_links(Lock& lock);
  void launch(Link& link, Lock& lock);
  void keep_time(Lock& lock);
  void lose(Link& link, const std::string& why, Lock& lock, std::chrono::milliseconds last_words = {});
  void give_back_tasks(Link& link);
  void plan_next_start(Link& link, bool served, const std::optional<system::ExitStatus>& status);
  void look_for_hope(const Link& link);
  Clock::duration patience_with(const Link& link) const;
  void stop_links(Lock& lock);
  void end(Link& link, Lock& lock, std::chrono::milliseconds last_words = {});
  void follow_slurm(Lock& lock);
  static std::string why_it_ended(const Link& link, const std::string& why,
                                  const std::optional<system::ExitStatus>& status);

  const RemoteOptions options_;
  const std::chrono::milliseconds silence_;  // for so long, and a host is lost
  std::atomic<bool> abandoned_{false};
  std::shared_ptr<OutputQueue> output_;  // null: nobody wants it. Made before the thread
  protocol::Blocks blocks_;
  Clock::time_point trims_blocks_at_{};  // of the fleet's thread alone
  Clock::time_point starts_at_{};  // the next start of an agent; of the fleet's thread alone
  std::vector<std::string> unknown_options_;  // that this machine's ssh does not know; of the fleet's thread alone

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;  // a link's phase, an answer to a cancel, the thread's end
  std::vector<std::unique_ptr<Link>> links_;
  std::unique_ptr<SlurmJob> slurm_;
  std::optional<Deployment> deployment_;  // of the fleet's thread alone
  pool::Backlog backlog_;
  bool accepting_ = true;
  bool killing_ = false;
  std::shared_ptr<const Failure> broken_;
  std::vector<Function> functions_;
  std::unordered_map<const void*, std::unordered_map<const void*, protocol::FunctionNumber>>
      numbers_;  // by callable and target
  std::uint64_t loads_ = 0;  // when numbers_ was true
  protocol::TaskNumber last_number_ = 0;
  std::unordered_map<protocol::TaskNumber, std::optional<bool>> cancels_;  // asked for, and answered
  double mean_task_ns_ = 0;
  std::optional<int> total_workers_;  // by resize
  Stats counts_;

  std::thread thread_;
  bool thread_started_ = false;
  bool thread_done_ = false;
  bool joined_ = false;
  bool asleep_ = false;  // in poll, and not told to wake
  std::optional<Clock::time_point> trims_at_;  // memory of messages that were sent goes back to the system
  system::UniqueFd event_;
};

}  // namespace yoke::remote
