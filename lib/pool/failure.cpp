#include "lib/pool/failure.hpp"

#include <fmt/format.h>

#include <signal.h>

#include <algorithm>
#include <span>

#include "lib/system/frames.hpp"
#include "lib/system/symbols.hpp"
#include "lib/wire/printable.hpp"
#include "yoke/map.hpp"

namespace yoke::pool {
namespace {

void fill_status(const system::ExitStatus& status, const channel::LastWords& words, WorkerDeath& death) {
  if (const auto* signaled = std::get_if<system::Signaled>(&status)) {
    death.signal = signaled->signal;
  } else if (const auto* exited = std::get_if<system::Exited>(&status)) {
    death.exit_code = exited->code;
  } else {
    death.status_known = words.signal.has_value();
    death.signal = words.signal.value_or(0);
  }
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Outcome failed(std::shared_ptr<const Failure> failure) {
  Outcome outcome;
  outcome.kind = Outcome::Kind::failure;
  outcome.failure = std::move(failure);
  return outcome;
}

std::string TaskName::text() const {
  if (!callable) return {};
  if (!given.empty()) return given;
  if (target)
    if (auto name = system::function_name(target); !name.empty()) return name;
  return system::demangle(callable->type->name());
}

bool Death::crashed() const {
  const auto* signaled = std::get_if<system::Signaled>(&status);
  if (!signaled) return words.signal.has_value();
  constexpr int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ, SIGPIPE};
  return std::ranges::find(own, signaled->signal) != std::end(own);
}

WorkerDeath Death::report() const {
  WorkerDeath death;
  death.pid = pid;
  death.rank = rank;
  fill_status(status, words, death);
  death.task = task.text();
  death.item = item;
  death.phase = words.phase;
  death.run_time = run_time;
  death.peak_memory = words.peak_memory;
  death.out_of_memory = out_of_memory;
  death.lives_on = lives_on;
  death.reason = wire::printable(words.reason, wire::Lines::one, wire::most_words);
  // The black box speaks of this death only if the process died of the signal that it recorded.
  if (words.signal && *words.signal == death.signal) {
    death.fault_address = words.fault_address;
    death.signal_code = words.code;
    auto frames = std::span(words.frames);
    if (words.stack_overflow) {
      if (death.reason.empty())
        death.reason =
            "stack overflow: its calls went too deep, or their local variables are too large (see ulimit -s)";
      frames = frames.subspan(std::min(system::first_of_program(frames), frames.size() - 1));
    }
    death.frames = system::describe_frames({frames.begin(), frames.end()}, frames.size() != words.frames.size());
    for (std::string& frame : death.frames) frame = wire::printable(frame, wire::Lines::one, wire::most_words);
  } else if (death.signal == SIGSEGV && was_ready && death.reason.empty()) {
    death.reason = "nothing more could be recorded, as when a thread that a task has started overflows its stack";
  }
  return death;
}

std::exception_ptr make_death_error(const std::vector<WorkerDeath>& deaths) {
  if (deaths.size() == 1) return std::make_exception_ptr(TerminatedWorkerError(deaths.back()));
  std::string text =
      fmt::format("{} workers died running this task, which was tried {} times:", deaths.size(), deaths.size());
  for (const WorkerDeath& death : deaths) text += fmt::format("\n{}", to_string(death));
  return std::make_exception_ptr(TerminatedWorkerError(text, deaths.back()));
}

std::exception_ptr DeathFailure::make(const std::string&) const { return make_death_error(reports()); }

std::vector<WorkerDeath> DeathFailure::reports() const {
  std::vector<WorkerDeath> reports;
  for (const auto& death : deaths_) reports.push_back(death->report());
  return reports;
}

std::exception_ptr BrokenByDeaths::make(const std::string&) const {
  constexpr std::size_t shown = 5;
  std::string text = why_;
  const std::size_t first = deaths_.size() > shown ? deaths_.size() - shown : 0;
  if (first != 0) text += fmt::format("\n({} earlier ones)", first);
  for (std::size_t i = first; i < deaths_.size(); ++i) {
    const std::string report = to_string(deaths_[i]->report());
    text += fmt::format("\n{}", i + 1 == deaths_.size() ? report : first_line(report));
  }
  return std::make_exception_ptr(BrokenProcessPool(text));
}

std::exception_ptr Thrown::make(const std::string& task_name) const {
  return detail::unpack_exception(exception_.view(), pid_, task_name);
}

std::exception_ptr InitializerFailure::make(const std::string&) const {
  try {
    std::rethrow_exception(detail::unpack_exception(exception_.view(), pid_, "the initializer"));
  } catch (const std::exception& error) {
    const auto* remote = dynamic_cast<const RemoteException*>(&error);
    return std::make_exception_ptr(BrokenProcessPool(fmt::format(
        "the initializer failed in the worker with pid {}, so no task can run: {}: {}", pid_,
        remote ? remote->type_name() : "exception", wire::printable(error.what(), wire::Lines::one, wire::most_text))));
  }
}

}  // namespace yoke::pool
