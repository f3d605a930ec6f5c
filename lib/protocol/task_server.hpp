// TaskServer: the tasks of a client elsewhere, run by a pool of this process: task note in, result note out, whatever
// carries them. The agent is one carrier.
//
// What a task names is told before it: modules, functions, blocks. Each task that was taken is answered once, by the
// pool or by a refusal; one that was cancelled is not. One thread uses it, which polls descriptor(); wake() and what
// the pool does may come from any.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lib/protocol/completions.hpp"
#include "lib/protocol/found_functions.hpp"
#include "lib/protocol/kept_blocks.hpp"
#include "lib/protocol/notes.hpp"
#include "yoke/pool.hpp"

namespace yoke::protocol {

class TaskServer {
 public:
  /// A result, with no bytes in its note: they are beside it, and may be too long for a note. Valid during the call.
  using TellResult = std::function<void(ResultNote note, const Bytes& bytes)>;

  TaskServer();

  /// Throws ProtocolError.
  void add_module(const ModuleNote& note) { functions_.add_module(note); }
  /// `same_build`: as the client; otherwise there are named tasks alone.
  void add_function(const FunctionNote& note, bool same_build) { functions_.add(note, same_build); }
  KeptBlocks& blocks() noexcept { return blocks_; }

  /// The client's initializer for the workers; empty until its function is told. Throws ProtocolError where it cannot
  /// run here.
  std::optional<Initializer> initializer_of(const InitialCall& call) const;
  /// From now on tasks run there. Before, they are refused.
  void serve_by(std::shared_ptr<Pool> pool) { pool_ = std::move(pool); }
  /// Null before.
  const std::shared_ptr<Pool>& pool() const noexcept { return pool_; }

  /// Throws ProtocolError for a number that has come before; all else is the answer.
  void take(const TaskNote& note, Bytes arguments);
  void refuse(TaskNumber number, const FailureNote& note);
  CancelledNote cancel(const CancelNote& note);

  /// Readable once there are results, or after wake().
  int descriptor() const noexcept { return completions_->descriptor(); }
  void wake() const noexcept { completions_->wake(); }
  /// Tells what there is. True if a failure was among them.
  bool take_results(const TellResult& tell);
  /// Where there is one task alone: waits for it, helping the pool. True if it is done.
  bool wait_for_lone(std::chrono::microseconds most);
  /// Tasks that have begun, each told once.
  std::vector<TaskNumber> take_starts();
  /// Whether there are tasks of which no start has been told.
  bool awaits_starts() const noexcept { return !unstarted_.empty(); }
  StateNote state() const;

 private:
  std::shared_ptr<Completions> completions_;  // its tasks may outlive the server
  std::vector<Completion> done_;
  std::shared_ptr<Pool> pool_;
  FoundFunctions functions_;
  KeptBlocks blocks_;
  std::unordered_map<TaskNumber, TaskPtr> tasks_;
  std::vector<TaskNumber> unstarted_;  // of which no start has been told
  std::string broken_;
};

}  // namespace yoke::protocol
