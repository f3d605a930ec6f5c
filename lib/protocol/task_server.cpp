#include "lib/protocol/task_server.hpp"

#include <fmt/format.h>

#include <utility>

#include "lib/executor/callback_thread.hpp"
#include "lib/pool/failure.hpp"
#include "yoke/call.hpp"

namespace yoke::protocol {
namespace {

constexpr char shared_result[] =
    "a SharedArray, or a broadcast value, cannot be returned from another machine: return its elements, as a vector";

Bytes packed_note(const FailureNote& note) {
  PackBuffer packed;
  Packer packer(packed, Packer::Arrays::elements);
  pack_value(packer, note);
  return packed.take();
}

FailureNote note_of(const Failure& failure) {
  const auto* deaths = dynamic_cast<const pool::DeathFailure*>(&failure);
  return deaths ? FailureNote{FailureKind::deaths, {}, deaths->reports()} : describe_failure(failure.make(""), {});
}

ResultNote note_of(const Completion& done) {
  ResultNote note{done.number, done.kind, done.pid, done.elapsed_ns, {}};
  for (const auto& [item, failure] : done.lost) note.lost.push_back({item, {failure.view()}});
  return note;
}

/// Packs what became of a task; of a death, with names and lines.
void complete(const std::shared_ptr<Completions>& completions, TaskNumber number, Task& task) {
  if (task.cancelled()) return;
  const Outcome outcome = task.outcome();
  if (outcome.bytes.buffer() && outcome.bytes.buffer()->speaks_of_shared_memory())
    return completions->add({number, ResultKind::failure, task.worker_pid(), task.elapsed_ns,
                             packed_note({FailureKind::serialization, shared_result, {}})});
  Completion completion{number, ResultKind::value, task.worker_pid(), task.elapsed_ns, outcome.bytes};
  if (outcome.kind == Outcome::Kind::exception) completion.kind = ResultKind::exception;
  if (!outcome.failure) return completions->add(std::move(completion));
  post_callback([completions, completion = std::move(completion), failure = outcome.failure]() mutable {
    if (const auto* lost = dynamic_cast<const wire::LostItems*>(failure.get())) {
      for (const auto& [item, why] : lost->items()) completion.lost.emplace_back(item, packed_note(note_of(*why)));
      return completions->add(std::move(completion));
    }
    const FailureNote note = note_of(*failure);
    if (note.kind == FailureKind::broken) completion.broken = note.text;
    completion.kind = ResultKind::failure;
    completion.bytes = packed_note(note);
    completions->add(std::move(completion));
  });
}

struct TellsCompletion final : Task::Continuation {
  TellsCompletion(std::shared_ptr<Completions> to, TaskNumber task_number)
      : Continuation(true), completions(std::move(to)), number(task_number) {}
  void run(Task& task) override { complete(completions, number, task); }
  std::shared_ptr<Completions> completions;
  TaskNumber number;
};

TaskOptions options_of(const TaskTerms& terms) {
  TaskOptions options;
  if (terms.timeout_ms) options.timeout = std::chrono::milliseconds(*terms.timeout_ms);
  options.retries = terms.retries;
  options.priority = terms.priority;
  return options;
}

}  // namespace

TaskServer::TaskServer() : completions_(std::make_shared<Completions>()) {}

std::optional<Initializer> TaskServer::initializer_of(const InitialCall& call) const {
  const FoundFunction* const function = functions_.find(call.function);
  if (!function) return std::nullopt;
  if (!function->trouble.empty()) throw ProtocolError("the initializer cannot run here: " + function->trouble);
  return Initializer(*function->callable, function->target, Bytes(std::as_bytes(std::span(call.arguments))));
}

void TaskServer::take(const TaskNote& note, Bytes arguments) {
  try {
    const FoundFunction* const function = functions_.find(note.function);
    if (!function) throw Error("the host was not told of its function");
    if (!function->trouble.empty()) throw Error(function->trouble);
    if (!pool_) throw BrokenProcessPool(broken_);
    if (!note.places.empty()) arguments = blocks_.put_into(arguments, note.places);
    TaskPtr task(new Task(*function->callable, function->target, std::move(arguments)));
    if (note.terms) task->set_options(options_of(*note.terms));
    task->add_continuation(std::make_unique<TellsCompletion>(completions_, note.number));
    if (!tasks_.emplace(note.number, task).second) throw ProtocolError(fmt::format("task {} came twice", note.number));
    pool_->submit(std::move(task));
    unstarted_.push_back(note.number);
  } catch (const ProtocolError&) {
    throw;
  } catch (const NoBlock& error) {
    refuse(note.number, {FailureKind::no_block, error.what(), {}});
  } catch (const std::exception&) {
    refuse(note.number, describe_failure(std::current_exception(), {}));
  }
}

void TaskServer::refuse(TaskNumber number, const FailureNote& note) {
  Completion completion{number, ResultKind::failure, 0, 0, packed_note(note)};
  if (note.kind == FailureKind::broken) completion.broken = note.text;
  completions_->add(std::move(completion));
}

CancelledNote TaskServer::cancel(const CancelNote& note) {
  CancelledNote answer{note.number, false};
  const auto found = tasks_.find(note.number);
  if (found == tasks_.end()) return answer;
  answer.cancelled = pool_->cancel(*found->second, note.kill ? CancelMode::kill : CancelMode::if_not_started);
  if (answer.cancelled) tasks_.erase(found);
  return answer;
}

bool TaskServer::take_results(const TellResult& tell) {
  completions_->take(done_);
  bool failed = false;
  for (const Completion& done : done_) {
    tasks_.erase(done.number);
    failed |= done.kind == ResultKind::failure;
    if (!done.broken.empty()) broken_ = done.broken;
    tell(note_of(done), done.bytes);
  }
  done_.clear();
  return failed;
}

bool TaskServer::wait_for_lone(std::chrono::microseconds most) {
  if (tasks_.size() != 1 || !pool_) return false;
  const TaskPtr lone = tasks_.begin()->second;
  pool_->wait(*lone, Clock::now() + most);
  return lone->done();
}

std::vector<TaskNumber> TaskServer::take_starts() {
  std::vector<TaskNumber> numbers;
  std::erase_if(unstarted_, [&](TaskNumber number) {
    const auto found = tasks_.find(number);
    if (found == tasks_.end()) return true;
    if (!pool_->running(*found->second)) return false;
    numbers.push_back(number);
    return true;
  });
  return numbers;
}

StateNote TaskServer::state() const { return {pool_ ? pool_->stats() : Stats{}, broken_}; }

}  // namespace yoke::protocol
