#include "lib/protocol/notes.hpp"

#include <fmt/format.h>

#include <utility>

#include "lib/pool/failure.hpp"
#include "lib/wire/printable.hpp"
#include "yoke/call.hpp"

namespace yoke::protocol {
namespace {

template <class Duration>
std::optional<std::int64_t> count_of(const std::optional<Duration>& duration) {
  if (!duration) return std::nullopt;
  return duration->count();
}

/// A failure of a task on another machine, as its agent described it.
class DescribedFailure final : public Failure {
 public:
  DescribedFailure(FailureNote note, std::string host) : note_(std::move(note)), host_(std::move(host)) {}

  std::exception_ptr make(const std::string& task_name) const override {
    const std::string text =
        fmt::format("{}{} (on {})", task_name.empty() ? "" : fmt::format("task '{}': ", task_name), note_.text, host_);
    switch (note_.kind) {
      case FailureKind::deaths: return deaths(task_name, text);
      case FailureKind::timeout: return std::make_exception_ptr(TimeoutError(text));
      case FailureKind::broken: return std::make_exception_ptr(BrokenProcessPool(text));
      case FailureKind::shutdown: return std::make_exception_ptr(ShutdownExecutorError(text));
      case FailureKind::serialization: return std::make_exception_ptr(SerializationError(text));
      case FailureKind::other:
      case FailureKind::no_block: break;
    }
    return std::make_exception_ptr(Error(text));
  }

 private:
  std::exception_ptr deaths(const std::string& task_name, const std::string& text) const {
    if (note_.deaths.empty()) return std::make_exception_ptr(TerminatedWorkerError(text, {}));
    std::vector<WorkerDeath> deaths = note_.deaths;
    for (WorkerDeath& death : deaths) {
      death.host = host_;
      if (!death.task.empty()) death.task = task_name;
    }
    return pool::make_death_error(deaths);
  }

  FailureNote note_;
  std::string host_;
};

}  // namespace

WorkerSettings settings_of(const ExecutorOptions& options) {
  WorkerSettings settings;
  settings.max_workers = options.max_workers;
  settings.timeout_ms = count_of(options.timeout);
  settings.env = options.env;
  settings.inner_max_num_threads = options.inner_max_num_threads;
  settings.on_crash = static_cast<std::uint8_t>(options.on_crash);
  settings.restart_deaths = options.restart_budget.deaths;
  settings.restart_within_s = options.restart_budget.within.count();
  settings.max_tasks_per_worker = options.max_tasks_per_worker;
  settings.bounds.recycle_worker_memory = options.recycle_worker_memory;
  settings.bounds.max_worker_memory = options.max_worker_memory;
  settings.bounds.max_result = options.max_result;
  settings.limits = options.limits;
  settings.new_privileges = options.new_privileges;
  settings.spare_workers = options.spare_workers;
  settings.spawn_eagerly = options.spawn_eagerly;
  settings.start_timeout_ms = options.start_timeout.count();
  settings.kill_grace_ms = options.kill_grace.count();
  return settings;
}

ExecutorOptions options_of(const WorkerSettings& settings) {
  ExecutorOptions options;
  options.max_workers = settings.max_workers;
  if (settings.timeout_ms) options.timeout = std::chrono::milliseconds(*settings.timeout_ms);
  options.env = settings.env;
  options.inner_max_num_threads = settings.inner_max_num_threads;
  options.on_crash = settings.on_crash == 0 ? CrashPolicy::fail_task : CrashPolicy::break_pool;
  options.restart_budget = {settings.restart_deaths, std::chrono::seconds(settings.restart_within_s)};
  options.max_tasks_per_worker = settings.max_tasks_per_worker;
  if (settings.bounds.recycle_worker_memory) options.recycle_worker_memory = *settings.bounds.recycle_worker_memory;
  if (settings.bounds.max_worker_memory) options.max_worker_memory = *settings.bounds.max_worker_memory;
  if (settings.bounds.max_result) options.max_result = *settings.bounds.max_result;
  options.limits = settings.limits;
  options.new_privileges = settings.new_privileges;
  options.spare_workers = settings.spare_workers;
  options.spawn_eagerly = settings.spawn_eagerly;
  options.start_timeout = std::chrono::milliseconds(settings.start_timeout_ms);
  options.kill_grace = std::chrono::milliseconds(settings.kill_grace_ms);
  return options;
}

FailureNote describe_failure(const std::exception_ptr& error, std::vector<WorkerDeath> deaths) {
  FailureNote note;
  note.deaths = std::move(deaths);
  try {
    std::rethrow_exception(error);
  } catch (const TerminatedWorkerError& known) {
    note.kind = FailureKind::deaths;
    note.text = known.what();
  } catch (const TimeoutError& known) {
    note.kind = FailureKind::timeout;
    note.text = known.what();
  } catch (const BrokenProcessPool& known) {
    note.kind = FailureKind::broken;
    note.text = known.what();
  } catch (const ShutdownExecutorError& known) {
    note.kind = FailureKind::shutdown;
    note.text = known.what();
  } catch (const SerializationError& known) {
    note.kind = FailureKind::serialization;
    note.text = known.what();
  } catch (const std::exception& known) {
    note.text = known.what();
  }
  return note;
}

std::shared_ptr<const Failure> failure_of(FailureNote note, const std::string& host) {
  note.text = wire::printable(note.text, wire::Lines::several, wire::most_text);
  constexpr std::size_t most_frames = 256;
  for (WorkerDeath& death : note.deaths) {
    if (death.frames.size() > most_frames) death.frames.resize(most_frames);
    death.reason = wire::printable(death.reason, wire::Lines::one, wire::most_words);
    for (std::string& frame : death.frames) frame = wire::printable(frame, wire::Lines::one, wire::most_words);
  }
  return std::make_shared<DescribedFailure>(std::move(note), host);
}

template <class T>
T unpack_note(std::span<const std::byte> head) {
  const Message message(head);
  return unpack_value<T>(message.object());
}

template Hello unpack_note(std::span<const std::byte>);
template Welcome unpack_note(std::span<const std::byte>);
template ModuleNote unpack_note(std::span<const std::byte>);
template FunctionNote unpack_note(std::span<const std::byte>);
template CancelNote unpack_note(std::span<const std::byte>);
template CancelledNote unpack_note(std::span<const std::byte>);
template StartedNote unpack_note(std::span<const std::byte>);
template StopNote unpack_note(std::span<const std::byte>);
template OutputNote unpack_note(std::span<const std::byte>);
template OutputTakenNote unpack_note(std::span<const std::byte>);
template StateNote unpack_note(std::span<const std::byte>);
template BlockNote unpack_note(std::span<const std::byte>);
template FailureNote unpack_note(std::span<const std::byte>);

}  // namespace yoke::protocol
