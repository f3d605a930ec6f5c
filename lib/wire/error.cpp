// The error types, and the words of a death report.
#include "yoke/error.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace yoke {
namespace {

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

std::string readable_time(std::chrono::nanoseconds time) {
  const double ms = static_cast<double>(time.count()) / 1e6;
  if (ms >= 10'000) return fmt::format("{:.1f} s", ms / 1000);
  if (ms >= 10) return fmt::format("{:.0f} ms", ms);
  return fmt::format("{:.2f} ms", ms);
}

std::string cause(const WorkerDeath& death) {
  if (death.lives_on) return "was given up, and lives on: end it yourself";
  if (!death.status_known && death.signal == 0)
    return "how is not known: its exit status could not be had (another wait of this program may have taken it)";
  if (death.signal == 0) return fmt::format("exited with code {}", death.exit_code);
  std::string text = signal_name(death.signal);
  if (death.fault_address) {
    text += fmt::format(" at address {:#x}", *death.fault_address);
    if (death.signal == SIGSEGV && death.signal_code == SEGV_MAPERR) text += " (not mapped)";
    if (death.signal == SIGSEGV && death.signal_code == SEGV_ACCERR) text += " (not permitted)";
  }
  if (death.out_of_memory) text += " for want of memory";
  return text;
}

const char* while_doing(Phase phase) {
  switch (phase) {
    case Phase::decode: return "while unpacking the arguments of";
    case Phase::encode: return "while packing the result of";
    case Phase::finish: return "after";
    default: return "while running";
  }
}

/// How many frames from the first on are the first `period` ones again and again.
std::size_t repeated(std::span<const std::string> frames, std::size_t period) {
  std::size_t n = period;
  while (n < frames.size() && frames[n] == frames[n - period]) ++n;
  return n < 2 * period ? 0 : n;
}

/// A line for each frame; of a recursion, through one function or several, one round.
std::string call_chain(std::span<const std::string> frames) {
  constexpr std::size_t longest_round = 12;
  constexpr std::size_t least_repeats = 3;  // frames: fewer are shown
  std::string text;
  while (!frames.empty()) {
    std::size_t shown = 1;
    std::size_t told = 1;
    for (std::size_t period = 1; period <= std::min(longest_round, frames.size() / 2) && told == 1; ++period)
      if (const std::size_t all = repeated(frames, period); all >= period + least_repeats) {
        shown = period;
        told = all;
      }
    for (std::size_t i = 0; i < shown; ++i) text += fmt::format("\n  called from {}", frames[i]);
    if (told > shown) text += fmt::format("\n  … {} more of the same", told - shown);
    frames = frames.subspan(told);
  }
  return text;
}

}  // namespace

const char* to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::idle: return "idle";
    case Phase::start: return "start";
    case Phase::decode: return "decode";
    case Phase::run: return "run";
    case Phase::encode: return "encode";
    case Phase::finish: return "finish";
  }
  return "unknown";
}

std::string to_string(const WorkerDeath& death) {
  std::string text = fmt::format("worker {} (pid {}{}{}) {}{}", death.rank, death.pid, death.host.empty() ? "" : " on ",
                                 death.host, death.lives_on ? "" : "died: ", cause(death));
  if (!death.frames.empty()) text += fmt::format(" in {}", death.frames.front());
  if (!death.reason.empty()) text += fmt::format("\n  {}", death.reason);
  if (!death.task.empty()) {
    const std::string item = death.item ? fmt::format("item {} of the map of ", *death.item) : "";
    text += fmt::format("\n  {} {}'{}', {} after {} began", while_doing(death.phase), item, death.task,
                        readable_time(death.run_time), death.item ? "its chunk" : "it");
    if (death.peak_memory != 0) text += fmt::format(", peak memory {} MB", (death.peak_memory + 500'000) / 1'000'000);
  }
  if (death.frames.size() > 1) text += call_chain(std::span(death.frames).subspan(1));
  return text;
}

Error::~Error() = default;
BrokenProcessPool::~BrokenProcessPool() = default;
ShutdownExecutorError::~ShutdownExecutorError() = default;
TimeoutError::~TimeoutError() = default;
CancelledError::~CancelledError() = default;
SerializationError::~SerializationError() = default;
RecursionError::~RecursionError() = default;
RemoteError::~RemoteError() = default;
TerminatedWorkerError::~TerminatedWorkerError() = default;

TerminatedWorkerError::TerminatedWorkerError(WorkerDeath death)
    : BrokenProcessPool(to_string(death)), death_(std::move(death)) {}
TerminatedWorkerError::TerminatedWorkerError(const std::string& text, WorkerDeath death)
    : BrokenProcessPool(text), death_(std::move(death)) {}

RemoteException::RemoteException(std::string type_name, std::string task_name, int worker_pid)
    : type_name_(std::move(type_name)), task_name_(std::move(task_name)), worker_pid_(worker_pid) {}
RemoteException::RemoteException(const RemoteException&) = default;
RemoteException& RemoteException::operator=(const RemoteException&) = default;
RemoteException::~RemoteException() = default;

}  // namespace yoke
