#include "lib/pool/failure.hpp"

#include <fmt/format.h>

#include <signal.h>

#include <algorithm>

#include "lib/system/modules.hpp"
#include "lib/system/symbols.hpp"
#include "yoke/map.hpp"

namespace yoke::pool {
namespace {

/// Of a frame told by the worker: the same module is loaded here, as a rule. All but the innermost frame tell the address
/// behind a call, which may be another line's, or after a call that does not return another function's.
std::string describe_frame(const channel::LastWords::Frame& frame, bool innermost) {
  if (frame.module.empty()) return fmt::format("{:#x}", frame.offset);
  if (frame.module == "/" && !system::program_is_ours()) return fmt::format("yoke-worker+{:#x}", frame.offset);
  const auto base = system::base_of(frame.module == "/" ? std::string() : frame.module);
  if (!base) return fmt::format("{}+{:#x}", frame.module, frame.offset);
  return system::describe_code(reinterpret_cast<const void*>(*base + frame.offset - (innermost ? 0 : 1)));
}

/// std::terminate's way to the library's handler and on to abort says nothing to the user.
bool is_terminate_handler(const std::string& frame) {
  return frame.starts_with("yoke::worker::") && frame.find("handle_terminate") != std::string::npos;
}

/// The library's own frames below the task's function say nothing to the user.
bool is_below_task(const std::string& frame) {
  const std::string_view function = std::string_view(frame).substr(0, frame.find('(', 1));
  for (const std::string_view own : {"yoke::detail::", "yoke::worker::", "std::__invoke", "4yoke6detail"})
    if (function.find(own) != std::string_view::npos) return true;
  return false;
}

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
  death.phase = words.phase;
  death.run_time = run_time;
  death.peak_memory = words.peak_memory;
  death.out_of_memory = out_of_memory;
  death.reason = words.reason;
  // The black box speaks of this death only if the process died of the signal that it recorded.
  if (words.signal && *words.signal == death.signal) {
    death.fault_address = words.fault_address;
    death.signal_code = words.code;
    for (const auto& frame : words.frames) {
      std::string text = describe_frame(frame, &frame == &words.frames.front());
      if (is_terminate_handler(text)) {
        death.frames.clear();
        continue;
      }
      if (is_below_task(text)) break;
      death.frames.push_back(std::move(text));
    }
  }
  return death;
}

std::exception_ptr DeathFailure::make(const std::string&) const {
  const WorkerDeath last = deaths_.back()->report();
  if (deaths_.size() == 1) return std::make_exception_ptr(TerminatedWorkerError(last));
  std::string text = fmt::format("{} workers died running this task, which was tried {} times:", deaths_.size(),
                                 deaths_.size());
  for (const auto& death : deaths_) text += fmt::format("\n{}", to_string(death->report()));
  return std::make_exception_ptr(TerminatedWorkerError(text, last));
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

std::exception_ptr InitializerFailure::make(const std::string&) const {
  try {
    std::rethrow_exception(detail::unpack_exception(exception_.view(), pid_, "the initializer"));
  } catch (const std::exception& error) {
    const auto* remote = dynamic_cast<const RemoteException*>(&error);
    return std::make_exception_ptr(BrokenProcessPool(
        fmt::format("the initializer failed in the worker with pid {}, so no task can run: {}: {}", pid_,
                    remote ? remote->type_name() : "exception", error.what())));
  }
}

}  // namespace yoke::pool
