// Why the pool could not run a task: failures that make their exception when it is asked for, by the thread that asks,
// since names and lines of a death report take time to find.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lib/channel/parent_channel.hpp"
#include "lib/system/process_handle.hpp"
#include "yoke/pool.hpp"

namespace yoke::pool {

/// A failure that is a text: E is one of yoke's error types.
template <class E>
class TextFailure final : public Failure {
 public:
  explicit TextFailure(std::string text) : text_(std::move(text)) {}
  std::exception_ptr make(const std::string& task_name) const override {
    return std::make_exception_ptr(E(task_name.empty() ? text_ : "task '" + task_name + "': " + text_));
  }

 private:
  std::string text_;
};

/// Outcome with a failure.
Outcome failed(std::shared_ptr<const Failure> failure);

/// What is known of a task without keeping it.
struct TaskName {
  const Callable* callable = nullptr;
  const void* target = nullptr;
  std::string given;

  TaskName() = default;
  explicit TaskName(const Task& task) : callable(&task.callable()), target(task.target()), given(task.options().name) {}
  std::string text() const;
};

/// One worker's death, as seen at the moment: everything but names and lines.
struct Death {
  int pid = 0;
  int rank = 0;
  system::ExitStatus status = system::StatusTaken{};
  channel::LastWords words;
  TaskName task;  // that it ran; callable null: none
  std::optional<std::uint64_t> item;  // of its map
  std::chrono::nanoseconds run_time{0};
  bool out_of_memory = false;
  bool lives_on = false;  // it could not be ended
  bool was_ready = false;  // its start was over

  /// By a signal of its own making, and not by one from outside.
  bool crashed() const;
  /// With names and lines. Slow; any thread but the watchdog.
  WorkerDeath report() const;
};

/// TerminatedWorkerError for the deaths, one at least and in their order, that a task met; the last one is the error's
/// death().
std::exception_ptr make_death_error(const std::vector<WorkerDeath>& deaths);

class DeathFailure final : public Failure {
 public:
  explicit DeathFailure(std::vector<std::shared_ptr<const Death>> deaths) : deaths_(std::move(deaths)) {}
  std::exception_ptr make(const std::string& task_name) const override;
  /// Slow, as Death::report().
  std::vector<WorkerDeath> reports() const;

 private:
  std::vector<std::shared_ptr<const Death>> deaths_;
};

/// BrokenProcessPool with the deaths that spent the restart budget or that a start met.
class BrokenByDeaths final : public Failure {
 public:
  BrokenByDeaths(std::string why, std::vector<std::shared_ptr<const Death>> deaths)
      : why_(std::move(why)), deaths_(std::move(deaths)) {}
  std::exception_ptr make(const std::string& task_name) const override;

 private:
  std::string why_;
  std::vector<std::shared_ptr<const Death>> deaths_;
};

/// What a worker packed: of some items of a chunk, beside the values of others.
class Thrown final : public Failure {
 public:
  Thrown(Bytes exception, int pid) : exception_(std::move(exception)), pid_(pid) {}
  std::exception_ptr make(const std::string& task_name) const override;

 private:
  Bytes exception_;
  int pid_;
};

/// BrokenProcessPool because the initializer threw: its packed exception.
class InitializerFailure final : public Failure {
 public:
  InitializerFailure(Bytes exception, int pid) : exception_(std::move(exception)), pid_(pid) {}
  std::exception_ptr make(const std::string& task_name) const override;

 private:
  Bytes exception_;
  int pid_;
};

}  // namespace yoke::pool
