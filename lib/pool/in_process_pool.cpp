#include "lib/pool/in_process_pool.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <stdexcept>

#include "lib/pool/count_waiting.hpp"
#include "lib/pool/failure.hpp"
#include "lib/system/thread.hpp"
#include "yoke/call.hpp"
#include "yoke/map.hpp"
#include "yoke/process.hpp"

namespace yoke::pool {
namespace {

class DirectCall final : public Call {
 public:
  using Call::Call;
  void publish() override {}
};

void check_size(int max_workers) {
  if (max_workers < 1) throw std::invalid_argument(fmt::format("max_workers must be at least 1, not {}", max_workers));
}

}  // namespace

InProcessPool::InProcessPool(const ExecutorOptions& options, EventSink tell)
    : Pool(options.job_reducers, options.result_reducers),
      shared_(std::make_shared<Shared>()),
      max_workers_(options.max_workers.value_or(cpu_count())) {
  check_size(max_workers_);
  shared_->initializer = options.initializer;
  shared_->result_reducers = options.result_reducers;
  shared_->tell = std::move(tell);
}

InProcessPool::~InProcessPool() {
  if (thread_.get_id() == std::this_thread::get_id()) {
    shared_->admission.close();  // the last handle was a task's, dropped with the lock held; nobody else can look
  } else {
    const std::lock_guard lock(shared_->mutex);
    shared_->admission.close();
    shared_->changed.notify_all();
  }
  if (thread_.joinable()) thread_.detach();  // it finishes what there is; whoever wants to wait calls shutdown
}

Outcome InProcessPool::execute(const Task& task, const Reducers& result_reducers) {
  Outcome outcome;
  PackBuffer result;
  std::atomic<std::uint8_t> phase{static_cast<std::uint8_t>(Phase::decode)};
  try {
    DirectCall call(task.arguments().view(), task.target(), result, phase, &result_reducers);
    task.callable().trampoline(call);
  } catch (...) {
    result.truncate(0);
    detail::pack_current_exception(result, static_cast<Phase>(phase.load()));
    outcome.kind = Outcome::Kind::exception;
  }
  outcome.bytes = result.take();
  return outcome;
}

void InProcessPool::run(const std::shared_ptr<Shared>& shared) {
  std::unique_lock lock(shared->mutex);
  if (const Initializer& call = shared->initializer) {
    lock.unlock();
    const TaskPtr task(new detail::TaskOf<void>(call.callable(), call.target(), call.arguments()));
    Outcome outcome = execute(*task, shared->result_reducers);
    lock.lock();
    if (outcome.kind == Outcome::Kind::exception)
      shared->admission.break_with(std::make_shared<InitializerFailure>(std::move(outcome.bytes), ::getpid()));
  }
  for (;;) {
    shared->changed.wait(lock,
                         [&] { return shared->admission.closed() || (!shared->paused && !shared->backlog.empty()); });
    const TaskPtr task = shared->backlog.front();
    if (!task) break;
    shared->backlog.pop();
    shared->running = task.get();
    const std::shared_ptr<const Failure> broken = shared->admission.broken();
    lock.unlock();
    task->set_worker_pid(::getpid());
    const auto start = Clock::now();
    const auto tell = [&](EventKind kind, Clock::time_point time, bool failed) {
      if (shared->tell) shared->tell({kind, time, ::getpid(), 0, TaskName(*task), failed});
    };
    tell(EventKind::task_started, start, false);
    Outcome outcome = broken ? failed(broken) : execute(*task, shared->result_reducers);
    task->elapsed_ns = static_cast<std::uint32_t>(
        std::min<std::int64_t>(std::chrono::nanoseconds(Clock::now() - start).count(), UINT32_MAX));
    tell(EventKind::task_done, Clock::now(), outcome.kind != Outcome::Kind::value);
    lock.lock();
    shared->running = nullptr;
    ++(outcome.kind == Outcome::Kind::value ? shared->counts.done : shared->counts.failed);
    task->resolve(std::move(outcome));
  }
  shared->ended = true;
  shared->changed.notify_all();
}

void InProcessPool::submit(TaskPtr task) {
  check_process();
  const std::lock_guard lock(shared_->mutex);
  shared_->admission.check();
  if (!thread_.joinable()) thread_ = system::start_thread("yoke-in-process", [shared = shared_] { run(shared); });
  ++shared_->counts.submitted;
  shared_->backlog.push_back(std::move(task));
  shared_->changed.notify_all();
}

bool InProcessPool::cancel(Task& task, CancelMode) {
  if (in_other_process()) return false;
  const std::lock_guard lock(shared_->mutex);
  if (shared_->running == &task || !task.resolve_cancelled()) return false;
  shared_->backlog.forget_one();
  ++shared_->counts.cancelled;
  return true;
}

bool InProcessPool::running(const Task& task) const {
  if (in_other_process()) return false;
  const std::lock_guard lock(shared_->mutex);
  return shared_->running == &task;
}

bool InProcessPool::accepting() const {
  if (in_other_process()) return false;
  const std::lock_guard lock(shared_->mutex);
  return shared_->admission.accepts();
}

void InProcessPool::shutdown(const ShutdownOptions& options) {
  if (in_other_process()) return;
  std::unique_lock lock(shared_->mutex);
  shared_->admission.close();
  if (options.cancel_futures || options.kill_workers) {
    for (const TaskPtr& task : shared_->backlog.take_all()) {
      if (options.kill_workers)
        shared_->counts.failed += task->resolve(failed(Admission::failure_of_killed()));
      else if (task->resolve_cancelled())
        ++shared_->counts.cancelled;
    }
  }
  shared_->changed.notify_all();
  if (!options.wait || !thread_.joinable() || thread_.get_id() == std::this_thread::get_id()) return;
  shared_->changed.wait(lock, [&] { return shared_->ended; });
  if (!thread_.joinable()) return;
  std::thread ended = std::move(thread_);
  lock.unlock();
  ended.join();
}

void InProcessPool::set_paused(bool paused) {
  if (in_other_process()) return;
  const std::lock_guard lock(shared_->mutex);
  shared_->paused = paused;
  shared_->changed.notify_all();
}

void InProcessPool::resize(int max_workers) {
  check_size(max_workers);
  check_process();
  const std::lock_guard lock(shared_->mutex);
  max_workers_ = max_workers;
}

int InProcessPool::max_workers() const {
  check_process();
  const std::lock_guard lock(shared_->mutex);
  return max_workers_;
}

Stats InProcessPool::stats() const {
  check_process();
  const std::lock_guard lock(shared_->mutex);
  Stats stats = shared_->counts;
  stats.running = shared_->running ? 1 : 0;
  count_waiting(stats);
  return stats;
}

}  // namespace yoke::pool
