// Time limits: tasks that run too long, and the end of their workers. On the watchdog.
#include <fmt/format.h>

#include <algorithm>

#include "lib/local/local_pool.hpp"
#include "lib/pool/retries.hpp"
#include "lib/wire/chunk.hpp"

namespace yoke::local {
namespace {

using pool::failed;
using pool::TextFailure;

constexpr int looks_an_item = 4;  // within the time limit of an item of a chunk: it may last so much longer
constexpr std::chrono::milliseconds shortest_pause{2};

}  // namespace

LocalPool::FailurePtr LocalPool::timeout_failure(const Task& task, std::optional<std::uint64_t> item) {
  return std::make_shared<TextFailure<TimeoutError>>(
      fmt::format("{} ran longer than its timeout of {} ms, and its worker was killed",
                  item ? fmt::format("item {}", *item) : "it", task.options().timeout->count()));
}

void LocalPool::note_progress(Worker& worker, Clock::time_point now) const {
  const auto first = worker.channel.oldest_position();
  Progress& progress = worker.progress;
  progress.look(first, first && worker.channel.started(*first), now);
  if (!first || !progress.begun_since()) return;
  if (const auto chunk = wire::chunk_arguments(*worker.channel.oldest()))
    progress.look_at_items(worker.channel.chunk_progress(*first).items, chunk->count, start_of_first(worker), now);
}

/// Of a worker whose first task was seen begun.
Clock::time_point LocalPool::start_of_first(const Worker& worker) const {
  const auto told = worker.channel.started_ns(worker.channel.first_uncollected());
  return worker.progress.start(told ? std::optional(Clock::time_point(std::chrono::nanoseconds(*told))) : std::nullopt);
}

/// When the time of a task is over. It counts from the task's start; of what is not begun it has not begun to count:
/// except where the worker has nothing else to do and says for long that it does not begin.
Clock::time_point LocalPool::due(const Worker& worker, std::uint64_t position, const Task& task,
                                 Clock::time_point now) const {
  const Progress& progress = worker.progress;
  const auto limit = *task.options().timeout;
  if (!progress.of(position) || !worker.is_ready()) return time_after(now, limit);
  if (progress.begun_since()) return time_after(progress.item_since().value_or(start_of_first(worker)), limit);
  const TaskHistory* history = histories_.find(task);
  const auto before = history ? history->first_in_line : std::nullopt;
  const auto since = std::min(before.value_or(progress.first_since()), progress.first_since());
  return std::max(time_after(time_after(since, limit), options_.kill_grace),
                  progress.unbegun_for_long() ? since : now + LivenessScan::period);
}

/// Looks at the worker's tasks where the time of one of them could be over.
void LocalPool::check_time_limits(Worker& worker, Clock::time_point now) {
  if (!worker.look_at() || now < *worker.look_at()) return;
  worker.looked();
  if (worker.is_killed()) return;
  note_progress(worker, now);
  for (auto p = worker.channel.first_uncollected(); p != worker.channel.next_position(); ++p) {
    const TaskPtr task = worker.channel.task_at(p);
    if (!task || !task->options().timeout || task->done()) continue;
    const auto time = due(worker, p, *task, now);
    if (time <= now) return end_late(worker, p, task);
    const auto limit = *task->options().timeout;
    const auto chunk = wire::chunk_arguments(*task);
    // What is not begun may begin at any time, and items within a chunk do.
    const bool begins = !worker.progress.begun_since() || (chunk && chunk->count > 1);
    worker.look_by(begins ? std::min(time, time_after(now, std::max(limit / looks_an_item, shortest_pause))) : time);
  }
}

/// Ends the worker for the sake of the task at `position`, which is the first in line. Its slot may say that it is not
/// begun, and then cannot be begun any more; whatever it says, the task is settled with the worker.
void LocalPool::end_late(Worker& worker, std::uint64_t position, const TaskPtr& late) {
  const bool begun = worker.progress.begun_since().has_value();
  if (take_back_first(worker, position)) {
    worker.blame(late);
  } else if (!begun || !isolate(worker, *late)) {
    // It has begun just now, or is over.
    worker.look_by(time_after(Clock::now(), std::max(*late->options().timeout, shortest_pause)));
    return;
  }
  // What may run again, or has items that do not, is settled at the worker's death: nothing must run twice at once.
  if (!pool::may_try_again(late->attempts + 1, late->options().retries) && !late->callable().chunk) {
    late->set_worker_pid(worker.pid());
    histories_.forget(*late);
    fail_task(*late, timeout_failure(*late, {}));
  }
  if (begun)
    kill(worker, KillReason::timed_out);
  else
    kill(worker, KillReason::misbehaved,
         "it did not say within the time of its task that it had begun it, and was killed");
}

}  // namespace yoke::local
