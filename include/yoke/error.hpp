// Everything that yoke throws. All derive from yoke::Error, a std::runtime_error; each text says what happened, to
// which task, and what to do. Plain value types: copy and share them as any exception.
#pragma once

#include "yoke/language.hpp"

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "yoke/export.hpp"

namespace yoke {

namespace detail {
struct ThrowPlace;
struct ThrowPlaces;
}  // namespace detail

class YOKE_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

/// The pool cannot go on: workers cannot be started, the initializer failed (its text is in what()), the restart budget
/// is spent, or a worker died under CrashPolicy::break_pool.
class YOKE_API BrokenProcessPool : public Error {
 public:
  using Error::Error;
  ~BrokenProcessPool() override;
};

/// What a worker was doing for its task.
enum class Phase : std::uint8_t {
  idle,  // between tasks
  start,  // before its first task: loading, the initializer
  decode,  // unpacking the arguments
  run,  // in the task's function
  encode,  // packing the result
  finish  // result published; destroying the arguments
};
YOKE_API const char* to_string(Phase phase) noexcept;

/// How one worker process ended. A field that could not be known is empty or 0.
struct WorkerDeath {
  int pid = 0;
  int rank = 0;  // the worker's place in its pool
  int signal = 0;  // 0 if it exited
  int signal_code = 0;  // si_code of a crash, 0 if not known
  int exit_code = 0;  // meaningful if signal is 0
  bool status_known = true;  // false: someone else reaped the process and took its status
  std::string task;  // name of the task it was running; empty: none
  std::optional<std::uint64_t> item;  // of a map that it was running, counted from 0
  Phase phase = Phase::idle;
  std::chrono::nanoseconds run_time{0};  // from the task's start to the death
  std::uint64_t peak_memory = 0;  // bytes resident at most
  std::optional<std::uint64_t> fault_address;  // of the memory access that failed
  std::vector<std::string> frames;  // "function at file:line", innermost first
  bool out_of_memory = false;  // killed for want of memory: by the kernel, or above max_worker_memory
  bool lives_on = false;  // it could not be ended, for the reason below, and was given up
  std::string reason;  // what the worker or the pool itself said of it; may be empty
  std::string host;  // that it ran on; empty: this machine
};

/// "worker 1 (pid 4711) died: SIGSEGV at address 0x8 …", over several lines when there are frames.
YOKE_API std::string to_string(const WorkerDeath& death);

/// The worker that ran this task died.
class YOKE_API TerminatedWorkerError : public BrokenProcessPool {
 public:
  explicit TerminatedWorkerError(WorkerDeath death);
  TerminatedWorkerError(const std::string& text, WorkerDeath death);
  ~TerminatedWorkerError() override;
  const WorkerDeath& death() const noexcept { return death_; }

 private:
  WorkerDeath death_;
};

/// A task was submitted after shutdown, or dropped by shutdown({.kill_workers = true}).
class YOKE_API ShutdownExecutorError : public Error {
 public:
  using Error::Error;
  ~ShutdownExecutorError() override;
};

/// A wait or a task's own deadline ran out.
class YOKE_API TimeoutError : public Error {
 public:
  using Error::Error;
  ~TimeoutError() override;
};

/// The future was cancelled.
class YOKE_API CancelledError : public Error {
 public:
  using Error::Error;
  ~CancelledError() override;
};

/// An argument or a result could not be packed or unpacked. Fails that task alone.
class YOKE_API SerializationError : public Error {
 public:
  using Error::Error;
  ~SerializationError() override;
};

/// Pools nested deeper than YOKE_MAX_DEPTH.
class YOKE_API RecursionError : public Error {
 public:
  using Error::Error;
  ~RecursionError() override;
};

/// Where an exception that a task threw came from. An exception of a standard or registered type arrives as an object
/// that derives both from that type and from this class; any other as a RemoteError.
class YOKE_API RemoteException {
 public:
  RemoteException(std::string type_name, std::string task_name, int worker_pid);
  RemoteException(const RemoteException&);
  RemoteException& operator=(const RemoteException&);
  virtual ~RemoteException();
  /// Demangled type of what was thrown in the worker.
  const std::string& type_name() const noexcept { return type_name_; }
  const std::string& task_name() const noexcept { return task_name_; }
  int worker_pid() const noexcept { return worker_pid_; }
  /// Where it was thrown, "function at file:line", innermost first, down to the task's function. Empty where that is
  /// not known: of what another thread of the worker threw, of YOKE_IN_PROCESS, of programs with a static C++ runtime
  /// or a sanitizer. Slow at first: reads debug information.
  std::vector<std::string> frames() const;

 private:
  friend detail::ThrowPlaces;
  std::string type_name_;
  std::string task_name_;
  int worker_pid_;
  std::shared_ptr<const detail::ThrowPlace> place_;
};

/// The task threw something that has no type here. what() is its text, or says that it had none.
class YOKE_API RemoteError : public Error, public RemoteException {
 public:
  RemoteError(const std::string& text, RemoteException origin) : Error(text), RemoteException(std::move(origin)) {}
  ~RemoteError() override;
};

}  // namespace yoke
