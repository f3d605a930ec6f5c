// The scheduler's rules: which worker gets the next task, how many tasks it gets ahead, when another worker is needed,
// and when what was given has to be given anew. Pure: they look at workers and change nothing.
//
// A task never waits behind a long one while another worker could run it. So a worker is given many tasks at once only
// when tasks are known to be short; and from a worker that turns out to be slow, what it has not begun is taken back.
//
// Workers are any random-access range of pointers to what answers
//   takes_tasks() is_ready() is_in_service() is_killed() is_initializing() is_active() idle() hangs() is_slow()
//   is_full()
//   outstanding() given() holds_up_tasks()
// (Worker; in the tests of these rules a struct of their answers).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ranges>

namespace yoke::local::scheduler {

inline constexpr std::chrono::microseconds slow_after{500};  // a task that runs longer keeps no others waiting

struct Load {
  double mean_task_ns = 0;  // 0: unknown
  std::size_t waiting = 0;  // tasks in the backlog
  std::size_t workers = 0;
};

/// How many tasks a worker may have at once; at most `most`.
std::size_t depth(const Load& load, std::size_t most);
/// How many workers this process can keep busy: waking more for short tasks makes all slower.
std::size_t most_awake(const Load& load);

struct Limits {
  std::size_t depth = 1;
  std::size_t most_awake = 0;
  std::size_t max_workers = 1;
  std::optional<std::uint64_t> tasks_per_worker{};
};

template <class W>
bool has_room(const W& worker, std::size_t depth, const Limits& limits) {
  return worker.takes_tasks() && !worker.hangs() && !worker.is_full() && worker.outstanding() < depth &&
         (!limits.tasks_per_worker || worker.given() < *limits.tasks_per_worker);
}

/// Workers that take tasks, or have some. One that retires with nothing to do is as good as gone, and so is one that is
/// killed.
template <class Workers>
std::size_t active(const Workers& workers) {
  return static_cast<std::size_t>(std::ranges::count_if(workers, [](const auto& w) { return w->is_active(); }));
}
/// Workers that may get tasks, now or when they are ready.
template <class Workers>
std::size_t taking(const Workers& workers) {
  return static_cast<std::size_t>(std::ranges::count_if(workers, [](const auto& w) { return w->takes_tasks(); }));
}

struct Choice {
  std::size_t index = 0;
  bool awake = false;  // and so the first to be asked for the next task
};

/// The worker for the next task; empty if none has room. `preferred`, which was given the last task, goes first: it is
/// awake.
template <class Workers>
std::optional<Choice> choose_worker(const Workers& workers, std::size_t preferred, const Limits& limits) {
  const std::size_t n = workers.size();
  std::size_t awake = 0;
  std::optional<std::size_t> sleeping;
  std::optional<std::size_t> starting;  // may yet hang: what it is given may be taken back
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t index = preferred + i < n ? preferred + i : preferred + i - n;
    const auto& worker = *workers[index];
    if (worker.is_slow()) continue;
    if (worker.takes_tasks() && worker.is_ready() && !worker.hangs() && !worker.idle()) ++awake;
    if (!has_room(worker, limits.depth, limits)) continue;
    if (!worker.is_ready()) {
      if (!starting) starting = index;
      continue;
    }
    if (i == 0 || !worker.idle()) return Choice{index, true};
    if (!sleeping) sleeping = index;
  }
  if (sleeping) return awake < limits.most_awake ? std::optional(Choice{*sleeping}) : std::nullopt;
  if (starting) return Choice{*starting};
  // Long tasks, everyone busy: one ahead spares the pause between two, once no further worker is to be had.
  if (limits.depth > 1 || active(workers) < limits.max_workers) return {};
  for (std::size_t i = 0; i < n; ++i)
    if (has_room(*workers[i], 2, limits)) return Choice{i};
  return {};
}

/// A further worker should take tasks: more wait than workers start that could run them. `eager`: it should in any
/// case.
template <class Workers>
bool needs_worker(const Workers& workers, std::size_t waiting, std::size_t max_workers, bool eager) {
  if (active(workers) >= max_workers) return false;
  if (eager) return true;
  const auto starting = std::ranges::count_if(workers, [](const auto& w) {
    return w->takes_tasks() && !w->hangs() && (!w->is_ready() || w->is_initializing());
  });
  return waiting > static_cast<std::size_t>(starting);
}

/// Ready, with nothing to do.
template <class W>
bool is_free(const W& worker) {
  return worker.takes_tasks() && worker.is_ready() && !worker.hangs() && worker.idle();
}

/// Tasks wait behind a running one, or for a worker that hangs, although another worker is idle or could be started; or
/// for one that starts up, although another is ready and idle.
template <class Workers>
bool is_imbalanced(const Workers& workers, bool may_start_another) {
  bool someone_free = may_start_another;
  bool someone_ready = false;
  bool wait_for_a_task = false;
  bool wait_for_a_start = false;
  for (const auto& worker : workers) {
    if (worker->takes_tasks() && worker->idle() && !worker->hangs())
      (worker->is_ready() ? someone_ready : someone_free) = true;
    if (!worker->is_killed() && worker->outstanding() > 1) wait_for_a_task = true;
    if (worker->holds_up_tasks()) (worker->hangs() ? wait_for_a_task : wait_for_a_start) = true;
  }
  return ((someone_free || someone_ready) && wait_for_a_task) || (someone_ready && wait_for_a_start);
}

}  // namespace yoke::local::scheduler
