// The option structs of executors, tasks and map: plain aggregates for designated initialisers.
#pragma once

#include "yoke/language.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "yoke/initializer.hpp"
#include "yoke/reducers.hpp"

namespace yoke {

enum class CrashPolicy {
  fail_task,  // a worker's death costs the task that it ran
  break_pool  // a worker's death breaks the whole pool: the rule of loky and CPython
};

/// So many unexpected deaths within so much time, and no task finished between them, break the pool, with the causes in
/// the error: it makes no progress.
struct RestartBudget {
  int deaths = 100;
  std::chrono::seconds within{10};
  bool operator==(const RestartBudget&) const = default;
};

/// Resource limits set in the worker before exec; an empty one stays as it is in this process.
struct Limits {
  std::optional<std::uint64_t> cpu_seconds{};  // RLIMIT_CPU
  std::optional<std::uint64_t> address_space{};  // RLIMIT_AS, bytes
  std::optional<std::uint64_t> open_files{};  // RLIMIT_NOFILE
  std::optional<std::uint64_t> core_size{};  // RLIMIT_CORE, bytes
  std::optional<std::uint64_t> file_size{};  // RLIMIT_FSIZE, bytes
  std::optional<std::uint64_t> processes{};  // RLIMIT_NPROC: processes and threads of this user, all together
  bool operator==(const Limits&) const = default;
};

class Observer;

/// Memory of a worker's own: resident, but neither shared (as arguments are) nor mapped from files (as programs are).
/// For max_worker_memory also that of the processes that its tasks have started, memfds and what lies in pipes, as far
/// as /proc shows them; not what lies in sockets or in files.
struct ExecutorOptions {
  std::optional<int> max_workers{};  // default: cpu_count()
  std::optional<std::chrono::milliseconds> timeout{};  // idle time after which a worker leaves; empty: never
  std::map<std::string, std::string> env{};  // set in the worker before exec
  std::optional<int> inner_max_num_threads{};  // of OpenMP, BLAS and the like, in each worker: given to them as
      // OMP_NUM_THREADS, OPENBLAS_NUM_THREADS and so on. Empty:
      // cpu_count() / max_workers, but for variables that are set
  Initializer initializer{};  // runs once in every worker before its first task
  Reducers job_reducers{};  // own ways to send values of some types: as arguments,
  Reducers result_reducers{};  // and as results
  CrashPolicy on_crash = CrashPolicy::fail_task;
  RestartBudget restart_budget{};
  std::optional<int> max_tasks_per_worker{};  // a worker is replaced after that many tasks
  std::optional<std::size_t>
      recycle_worker_memory{};  // bytes of its own; a worker found above it after a task is replaced
  std::optional<std::size_t> max_worker_memory{};  // bytes of its own; a worker above it is killed, the error says so
  std::optional<std::size_t> max_result{};  // bytes of one packed result, or of those of one chunk of map, and of
      // what a task throws; more fails the task with SerializationError
  Limits limits{};
  bool new_privileges = false;  // tasks may gain rights by exec (sudo, set-user-ID programs); what
      // has more rights than this process cannot be ended by it
  int spare_workers = 0;  // started beyond need, so that a death costs no start-up
  bool spawn_eagerly = false;  // default: a worker starts when a task waits and none is idle
  std::chrono::milliseconds start_timeout{
      120'000};  // from a worker's launch to main, where it is ready; then the pool breaks
  std::chrono::milliseconds kill_grace{3000};  // between SIGTERM and SIGKILL
  std::shared_ptr<Observer> observer{};  // is told of workers and tasks; see observer.hpp
};

struct ShutdownOptions {
  bool wait = true;  // return when the workers are gone
  bool kill_workers = false;  // end everything now; unfinished futures get ShutdownExecutorError
  bool cancel_futures = false;  // cancel what no worker has started
};

struct TaskOptions {
  std::optional<std::chrono::milliseconds>
      timeout{};  // from the task's start; its worker is killed, its future gets TimeoutError
  int retries = 0;  // after a worker's death or a timeout; never after an exception
  std::string name{};  // shown in errors; default: the function's name
  int priority = 0;  // higher first among waiting tasks
};

struct MapOptions {
  std::optional<std::size_t> chunksize{};  // items a task; default: chosen from the input and the measured time
  std::optional<std::chrono::milliseconds> timeout{};  // from the call of map to each result; then TimeoutError
  std::optional<std::size_t> buffersize{};  // items fetched ahead at most; the input is then read lazily
  bool ordered = true;  // false: results in order of completion
  TaskOptions task{};  // its time limit and its retries are for each item
};

enum class CancelMode {
  if_not_started,
  kill  // also a running task: its worker is killed and replaced
};

}  // namespace yoke
