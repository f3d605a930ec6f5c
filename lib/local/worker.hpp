// Worker: the pool's books about one worker process. Guarded by the pool's lock.
//
// Its state is WorkerLife's; this class adds the process and what lies between it and us, and the times at which
// something of it is due. Channel and process are the pool's to use; everything else changes by a function here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "lib/channel/parent_channel.hpp"
#include "lib/local/progress.hpp"
#include "lib/local/worker_life.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/process_handle.hpp"
#include "yoke/pool.hpp"

namespace yoke::local {

class Worker {
 public:
  using State = WorkerLife::State;

  Worker(int rank, bool reserve, int depth, const system::ModuleIdentity& program)
      : channel(rank, depth, program), rank_(rank), life_(reserve) {}

  channel::ParentChannel channel;
  system::ProcessHandle process;
  Progress progress;

  int rank() const noexcept { return rank_; }
  int pid() const noexcept { return process.pid(); }
  const WorkerLife& life() const noexcept { return life_; }
  bool takes_tasks() const noexcept { return life_.takes_tasks(); }
  bool is_ready() const noexcept { return life_.is_ready(); }
  bool is_in_service() const noexcept { return life_.is_in_service(); }
  bool is_killed() const noexcept { return life_.is_killed(); }
  bool is_initializing() const noexcept { return initializer_ != nullptr; }
  bool is_initializer(const TaskPtr& task) const noexcept { return initializer_ && task == initializer_; }

  // Its tasks.
  std::size_t outstanding() const noexcept { return channel.outstanding(); }
  bool idle() const noexcept { return outstanding() == 0; }
  bool hangs() const noexcept { return progress.hangs(); }
  bool is_slow() const noexcept { return slow_; }
  bool is_full() const noexcept { return full_; }
  std::uint64_t given() const noexcept { return given_; }
  std::uint64_t done() const noexcept { return done_; }
  /// It has tasks and is not about to begin one, nor to end one.
  bool holds_up_tasks() const noexcept {
    return (!is_ready() || hangs()) && outstanding() > (is_initializing() ? 1U : 0U);
  }
  /// It takes tasks or has some. One that retires with nothing to do is as good as gone, and so is one that is killed.
  bool is_active() const noexcept { return takes_tasks() || (life_.is_retiring() && !idle()); }
  bool is_idle_reserve() const noexcept { return life_.state() == State::spare; }

  /// The call that it makes before its first task, which the channel has. Null again once it has run.
  void set_initializer(TaskPtr task) noexcept { initializer_ = std::move(task); }
  const TaskPtr& initializer() const noexcept { return initializer_; }

  void task_given() noexcept { ++given_; }
  void tasks_taken_back(std::size_t count) noexcept {
    given_ -= count;
    full_ = false;
  }
  void task_done() noexcept { ++done_; }
  /// Something of what it has came back: there is room again, and it is not stuck in one task.
  void results_came() noexcept { slow_ = full_ = false; }
  void found_full() noexcept { full_ = true; }
  void found_slow() noexcept { slow_ = true; }
  /// It has, or had since this was asked last, something to do.
  bool was_busy() noexcept { return std::exchange(given_before_, given_) != given_ || !idle(); }
  /// Taken back from it, and lost with it all the same.
  void blame(TaskPtr task) noexcept { blamed_ = std::move(task); }
  const TaskPtr& blamed() const noexcept { return blamed_; }

  // Its state: see WorkerLife.
  void launched(Clock::time_point now) noexcept { started_at_ = idle_since_ = now; }
  void became_ready(Clock::time_point now) noexcept {
    life_.ready(is_initializing());
    idle_since_ = now;
    life_word_ = channel.life_word().load(std::memory_order_acquire);
  }
  void initialized() noexcept {
    initializer_.reset();
    life_.initialized();
  }
  void promote(int rank, Clock::time_point now) noexcept {
    life_.promote();
    rank_ = rank;
    channel.set_rank(rank);
    idle_since_ = now;
  }
  bool retire() noexcept { return life_.retire(); }
  bool kill(KillReason reason, std::string text) noexcept { return life_.kill(reason, std::move(text)); }
  void end() noexcept { life_.end(); }

  // Times at which something is due.
  Clock::time_point started_at() const noexcept { return started_at_; }
  Clock::time_point idle_since() const noexcept { return idle_since_; }
  void idles_from(Clock::time_point now) noexcept { idle_since_ = now; }
  /// When SIGTERM, or asking, has had its time.
  const std::optional<Clock::time_point>& kill_at() const noexcept { return kill_at_; }
  void kill_at(Clock::time_point time) noexcept { kill_at_ = time; }
  /// SIGKILL was sent, or could not be; `given_up_at`: nobody waits for it longer. The first such time stays.
  void killing(std::error_code answer, Clock::time_point given_up_at) noexcept {
    kill_at_.reset();
    cannot_be_killed_ = answer;
    if (!give_up_at_) give_up_at_ = given_up_at;
  }
  const std::error_code& cannot_be_killed() const noexcept { return cannot_be_killed_; }
  bool is_given_up(Clock::time_point now) const noexcept { return give_up_at_ && now >= *give_up_at_; }
  /// When the time of a task that it has may be over.
  const std::optional<Clock::time_point>& look_at() const noexcept { return look_at_; }
  void look_by(Clock::time_point time) noexcept { look_at_ = std::min(look_at_.value_or(time), time); }
  void looked() noexcept { look_at_.reset(); }

  // Its end, as the watchdog sees it come.
  /// Its life notice says that it has ended, or no longer says that it lives.
  bool life_notice_changed() const noexcept {
    const std::uint32_t word = channel.life_word().load(std::memory_order_acquire);
    return system::life_ended(word) || (is_ready() && (word == 0 || word != life_word_));
  }
  const std::optional<Clock::time_point>& noticed_at() const noexcept { return noticed_at_; }
  /// True the first time.
  bool notice(Clock::time_point now) noexcept {
    if (noticed_at_) return false;
    noticed_at_ = now;
    return true;
  }
  /// It has ended, or does, and the kernel does not show how yet.
  const std::optional<Clock::time_point>& unclear_since() const noexcept { return unclear_since_; }
  void end_is_unclear(Clock::time_point now) noexcept {
    if (!unclear_since_) unclear_since_ = now;
  }
  /// Stopped by a signal with a task not begun, at this liveness scan and at the one before.
  bool stopped_again(bool stopped) noexcept { return std::exchange(seen_stopped_, stopped) && stopped; }

  // What the observer was told of it, each once.
  bool tell_ready_once() noexcept { return !std::exchange(told_ready_, true); }
  bool tell_started_once(std::uint64_t position) noexcept {
    if (told_started_ > position) return false;
    told_started_ = position + 1;
    return true;
  }

  bool watched = false;  // the sleeping watchdog hears its doorbell: the watchdog's own note

 private:
  int rank_;
  WorkerLife life_;
  TaskPtr initializer_;
  TaskPtr blamed_;
  std::uint64_t given_ = 0;  // tasks ever, less those taken back
  std::uint64_t given_before_ = 0;
  std::uint64_t done_ = 0;  // tasks whose results were collected
  bool full_ = false;  // takes no more until something of what it has is done or taken back
  bool slow_ = false;  // its task runs long: tasks were taken back from behind it
  Clock::time_point started_at_{};
  Clock::time_point idle_since_{};
  std::optional<Clock::time_point> kill_at_;
  std::optional<Clock::time_point> look_at_;
  std::optional<Clock::time_point> give_up_at_;
  std::error_code cannot_be_killed_;
  std::uint32_t life_word_ = 0;  // as it is while the worker lives; known once it was ready
  std::optional<Clock::time_point> noticed_at_;
  std::optional<Clock::time_point> unclear_since_;
  bool seen_stopped_ = false;
  bool told_ready_ = false;
  std::uint64_t told_started_ = 0;  // position + 1
};

}  // namespace yoke::local
