// Link: the client's end of one agent: its carrier, its stream, what the agent was told, and the tasks that it has.
//
//      waiting --start--> starting --welcomed--> serving --stop--> stopping
//         ^                  |                      |                 |
//         |                  +-------let_go---------+              let_go
//         |                             v                             v
//         +------try_again_at--------- lost                         ended
//
// end() leads to ended from anywhere. Each change is one function, and a link that is asked for one which its phase
// does not allow is a fault of the fleet (assert).
//
// Owned by a Fleet, whose lock guards it. It never waits and decides about no other host: where a change takes time (a
// carrier is started, or ends) the fleet does that between two calls, without the lock. Calls of the section "The
// stream" are the fleet's thread's alone, which is the only one that changes the carrier, and need no lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/protocol/blocks.hpp"
#include "lib/protocol/stream.hpp"
#include "lib/protocol/told_functions.hpp"
#include "lib/remote/policy.hpp"
#include "lib/remote/start_record.hpp"
#include "lib/system/piped_process.hpp"
#include "lib/wire/frame.hpp"
#include "yoke/remote.hpp"

namespace yoke::remote {

enum class LinkPhase {
  waiting,   // for its next start
  starting,  // its carrier is being started, or runs and the agent has not spoken yet
  serving,   // takes tasks
  stopping,  // the agent was asked to end
  lost,      // of no use any more; its carrier is being ended
  ended      // for good
};

class Link {
 public:
  struct Sent {
    TaskPtr task;
    bool started = false;  // as the agent told
  };
  using Tasks = std::unordered_map<protocol::TaskNumber, Sent>;
  /// What a start has brought.
  struct Started {
    std::unique_ptr<system::PipedProcess> carrier;  // null: it could not be started
    std::vector<std::string> command;
    std::string token;
    std::size_t most_payload = wire::most_payload_bytes;
    bool may_need_program = false;
  };
  /// What a link lets go when it is lost.
  struct Loss {
    std::unique_ptr<system::PipedProcess> carrier;  // null: there was none
    bool served = false;
    std::optional<system::ExitStatus> status;  // of the carrier, if it ended by itself
  };
  /// What has not come in its time.
  enum class Overdue { nothing, first_word, farewell, any_word };

  Link(std::size_t index, Host host, std::optional<int> processors = {});

  // Questions.
  std::size_t index() const noexcept { return index_; }
  const Host& host() const noexcept { return host_; }
  std::optional<int> processors() const noexcept { return processors_; }  // that Slurm has granted there
  LinkPhase phase() const noexcept { return phase_; }
  bool serves() const noexcept { return phase_ == LinkPhase::serving; }
  bool may_serve() const noexcept { return phase_ != LinkPhase::stopping && phase_ != LinkPhase::ended; }
  bool alive() const noexcept { return carrier_ != nullptr; }
  /// Whether it serves, or is worth waiting for. One that is not is still tried now and then, for as long as the pool
  /// lives.
  bool is_hopeful(Clock::time_point now, Clock::duration reconnect_for) const;
  /// Another start would end in the same way.
  bool is_hopeless() const noexcept { return hopeless_; }
  /// Why it was lost or could not be started last.
  const std::string& trouble() const noexcept { return trouble_; }
  const std::string& token() const noexcept { return token_; }
  const std::vector<std::string>& command() const noexcept { return command_; }
  const std::string& errors() const noexcept { return errors_; }
  const protocol::Welcome& welcome() const noexcept { return welcome_; }
  bool same_build() const noexcept { return same_build_; }
  Clock::duration patience() const noexcept { return record_.patience(); }
  int workers() const noexcept { return workers_; }
  const Tasks& tasks() const noexcept { return tasks_; }
  const Sent* find(protocol::TaskNumber number) const;
  bool has_unwritten() const noexcept { return !batch_.empty() || !queue_.empty(); }
  /// Something waits to be written, and the stream takes it.
  bool wants_to_write() const noexcept { return !queue_.empty() && !write_failed_; }
  HostView host_view() const;
  StartView start_view() const;
  HostInfo info() const;
  void add_stats(Stats& to) const;
  /// `silence`: for so long, and the agent is lost.
  Overdue overdue(Clock::time_point now, Clock::duration silence) const;
  Clock::time_point next_deadline(Clock::duration silence) const;

  // Changes of phase.
  void start(Clock::time_point now, Clock::duration start_timeout);
  /// Still starting, with a carrier or without.
  void started(Started start);
  void welcomed(const protocol::Welcome& note, bool same_build, Clock::time_point now, Clock::time_point beats_at);
  /// Asks the agent to end, for which it has until `most`.
  void stop(bool kill, Clock::time_point most);
  Loss let_go();
  void try_again_at(Clock::time_point when);
  /// For good. Returns the carrier that is left, if there is one.
  [[nodiscard]] std::unique_ptr<system::PipedProcess> end();

  // After let_go().
  /// Keeps why it was lost: `why`, and what is known of the carrier's end.
  void explain(const std::string& why, const Loss& loss);
  void record(const Loss& loss, Clock::time_point now);
  Clock::duration next_pause(Clock::time_point now, Clock::duration reconnect_for) {
    return record_.next_pause(now, reconnect_for);
  }
  /// The tasks that it had; for the next agent it is as new.
  Tasks take_back();
  void set_hopeless(bool hopeless) noexcept { hopeless_ = hopeless; }

  // Frames to the agent.
  void introduce(protocol::FunctionNumber function, const protocol::ToldFunctions& functions);
  void tell_block(protocol::BlockNumber number, const std::shared_ptr<SharedMemory>& block);
  void forget_block(protocol::BlockNumber number) { blocks_.erase(number); }
  void send_hello(const protocol::Hello& hello) { push_note(queue_, wire::FrameType::hello, hello); }
  void send_task(protocol::TaskNote note, TaskPtr task);
  void send_cancel(protocol::TaskNumber number, bool kill);
  void send_program(const Bytes& program);
  void set_workers(int workers) noexcept { workers_ = workers; }
  void send_workers(int workers);
  /// A heartbeat, where it is time for one.
  void beat(Clock::time_point now, Clock::duration every);
  /// Writes what the stream takes without waiting.
  void flush();

  // What the agent says.
  void set_started(protocol::TaskNumber number);
  void set_stats(Stats stats) { stats_ = std::move(stats); }
  void erase(protocol::TaskNumber number) { tasks_.erase(number); }
  /// All that it has, which stay the agent's to end.
  Tasks drop_tasks();
  void set_farewell() noexcept { said_farewell_ = true; }
  bool said_farewell() const noexcept { return said_farewell_; }
  /// So many bytes of output came. False: more than the agent was asked for.
  bool hold_output(std::size_t bytes);
  /// on_output has had them. True if the agent is to hear of it.
  bool let_go_output(std::size_t bytes);

  // The stream.
  /// -1: closed.
  int from() const noexcept { return carrier_->from(); }
  int errors_from() const noexcept { return carrier_->errors(); }
  int to() const noexcept { return carrier_->to(); }
  enum class Read { nothing, bytes, end };
  /// How many bytes it adds to `total`. Throws what the reader does.
  Read read_some(std::size_t& total);
  bool next_frame(wire::Frame& frame);
  void read_errors() { read_errors(*carrier_); }
  bool asks_for_program() const;
  /// Of one that was let go: waits for its end until then, kills it, and reads its last words.
  void see_end(Loss& loss, Clock::time_point deadline);

 private:
  void change(std::initializer_list<LinkPhase> from, LinkPhase to) noexcept;
  void read_errors(system::PipedProcess& carrier);
  void push_batch() { batch_.push_to(queue_, wire::FrameType::tasks); }
  void drop_blocks();

  const std::size_t index_;
  const Host host_;
  const std::optional<int> processors_;
  LinkPhase phase_ = LinkPhase::waiting;
  Clock::time_point acts_at_{};  // when the phase is over, or the next try is due
  Clock::time_point heard_{};  // last byte from the agent; of the fleet's thread alone
  Clock::time_point beats_at_{};  // next heartbeat to it
  std::string trouble_;
  bool hopeless_ = false;
  StartRecord record_;

  // Of its start.
  std::vector<std::string> command_;
  std::string token_;
  std::unique_ptr<system::PipedProcess> carrier_;
  bool may_need_program_ = false;  // it has not been sent, nor has the agent spoken; of the fleet's thread alone
  protocol::Welcome welcome_;
  bool same_build_ = false;

  // Its stream.
  wire::FrameReader reader_{protocol::is_frame_type};  // of the fleet's thread alone
  std::string errors_;  // the end of what came on stderr; of the fleet's thread alone
  wire::FrameQueue queue_;
  protocol::Batch batch_;  // tasks for the next frame
  bool write_failed_ = false;
  bool said_farewell_ = false;

  // What the agent has.
  Tasks tasks_;
  int workers_ = 0;
  std::vector<bool> knows_function_;
  std::vector<bool> knows_module_;
  std::unordered_map<protocol::BlockNumber, std::weak_ptr<SharedMemory>> blocks_;
  std::size_t output_held_ = 0;  // bytes that on_output has not taken
  std::size_t output_taken_ = 0;  // bytes that it has, and the agent has not been told of
  Stats stats_;  // of the agent, as it told last
  Stats stats_before_;  // of those before it: counts alone
};

}  // namespace yoke::remote
