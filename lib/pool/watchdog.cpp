// The watchdog: the thread that starts workers, sees their deaths, keeps time, and collects when nobody else does.
//
// It sleeps in one place, on the words by which the kernel and the workers can wake it. It runs no user code and
// unpacks nothing. What it throws fails every future with the reason.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lib/pool/local_pool.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/warm_memory.hpp"
#include "lib/worker/lifeline.hpp"

namespace yoke::pool {
namespace {

/// While others collect, the watchdog only looks by now and then, and leaves the doorbells to them.
constexpr std::chrono::milliseconds nap{1};
/// Between looks at a process that ends, or when the kernel cannot wait for all that there is.
constexpr std::chrono::milliseconds look_again{2};
constexpr std::chrono::microseconds end_of_notice{200};  // the same, of a worker whose life notice says that it ends
constexpr int looks_an_item = 4;  // within the time limit of an item of a chunk: it may last so much longer
constexpr std::chrono::seconds keep_warm_for{2};
/// For a killed worker, when the watchdog itself has failed.
constexpr std::chrono::seconds last_wait{5};

}  // namespace

void LocalPool::run_watchdog() {
  auto& life = *reinterpret_cast<worker::ParentLife*>(life_page_.data());
  Lock lock(mutex_, std::defer_lock);
  std::size_t announced = 0;
  try {
    // Before the lock: they are held for as long as the thread lives.
    for (; announced != life.size(); ++announced) system::hold_life_notice(life[announced]);
    system::warm_memory::join(*this);
    lock.lock();
    keep_watch(lock);
  } catch (const std::exception& error) {
    if (!lock.owns_lock()) lock.lock();
    break_pool(
        std::make_shared<TextFailure<BrokenProcessPool>>(fmt::format("the pool's watchdog failed: {}", error.what())));
    for (const auto& worker : workers_) worker->process.wait_exit(Clock::now() + last_wait);
    workers_.clear();
  }
  accepting_ = false;
  lock.unlock();
  for (const auto& page : later_life_pages_)
    for (auto& notice : *reinterpret_cast<worker::ParentLife*>(page.data())) system::retract_life_notice(notice);
  while (announced != 0) system::retract_life_notice(life[--announced]);
  system::warm_memory::leave(*this);
  system::warm_memory::trim({});  // nobody may be there to do it later
  lock.lock();
  life_page_ = {};  // the pool itself may live on for long
  life_fd_.reset();
  watchdog_done_ = true;
  watchdog_ended_.notify_all();
}

/// Where the program has closed the descriptor behind our back: new notices for the workers to come.
void LocalPool::renew_life_notices() {
  if (life_fd_.is_own()) return;
  life_fd_ = system::create_memfd("yoke-life", sizeof(worker::ParentLife));
  auto& page = later_life_pages_.emplace_back(life_fd_.get(), sizeof(worker::ParentLife), system::Access::read_write);
  for (auto& notice : *reinterpret_cast<worker::ParentLife*>(page.data())) system::hold_life_notice(notice);
  system::seal_memfd(life_fd_.get(), system::Seal::writes);
  life_fd_ = system::read_only(std::move(life_fd_));
}

bool LocalPool::finished(Clock::time_point now) {
  return !accepting_ && workers_.empty() && backlog_.empty() &&
         std::ranges::none_of(corpses_, [now](const Corpse& corpse) { return now < corpse.waited_for_until; });
}

void LocalPool::keep_watch(Lock& lock) {
  for (;;) {
    const std::uint64_t before = collected_;
    const bool others_collect = collected_ != seen_collected_;
    collect_all();
    const auto now = Clock::now();
    bury_dead(now);
    reap();
    if (next_start_ && now >= *next_start_) next_start_.reset();
    for (const auto& worker : workers_) check_task_timeouts(*worker, now);
    check_memory(now);
    advance_ladders(now);
    rebalance(now);
    dispatch();
    retire_surplus(now);
    const bool collected = collected_ != before;
    seen_collected_ = collected_;
    tune_spinning();
    if (wants_worker()) {
      start_worker(lock);
      continue;
    }
    if (finished(now)) return;
    if (collected && !others_collect) continue;  // more may have come meanwhile
    sleep_watchdog(lock, next_deadline(now), others_collect);
  }
}

/// When something is due, at the latest.
std::optional<Clock::time_point> LocalPool::next_deadline(Clock::time_point now) {
  std::optional<Clock::time_point> earliest;
  const auto at_latest = [&](Clock::time_point time) { earliest = earliest ? std::min(*earliest, time) : time; };
  if (next_start_) at_latest(*next_start_);
  if (dispatches_again_at_) at_latest(*dispatches_again_at_);
  for (const Corpse& corpse : corpses_) at_latest(now + (now < corpse.waited_for_until ? look_again : roll_call));
  balance_is_watched_ = imbalanced();
  if (balance_is_watched_) at_latest(now + nap);
  if (!system::warm_memory::any() &&
      std::ranges::none_of(workers_, [](const auto& w) { return w->channel.needs_trim(); }))
    next_trim_.reset();
  else if (!next_trim_)
    next_trim_ = now + keep_warm_for;
  if (next_trim_) at_latest(*next_trim_);
  for (const auto& worker : workers_) {
    if (worker->kill_at) at_latest(*worker->kill_at);
    if (worker->look_at) at_latest(*worker->look_at);
    if (!worker->was_ready || worker->unclear_since || (worker->mode == WorkerMode::doomed && !worker->kill_at))
      at_latest(now + look_again);
    if (!worker->idle() || worker->hangs || !quiet_) at_latest(next_roll_call_);
    if (!worker->idle() && options_.max_worker_memory) at_latest(next_memory_look_);
    if (worker->mode == WorkerMode::serving && worker->idle() && leaves_at(*worker) != Clock::time_point::max())
      at_latest(leaves_at(*worker));
  }
  return earliest;
}

/// It has told something that was not seen yet.
bool LocalPool::has_news(const Worker& worker) const {
  const auto& channel = worker.channel;
  return channel.peek() || (channel.crashed() && !worker.noticed_at) || (!worker.was_ready && channel.says_ready()) ||
         (channel.too_large() && worker.mode == WorkerMode::serving);
}

void LocalPool::sleep_watchdog(Lock& lock, Deadline deadline, bool others_collect) {
  const auto at_latest = [&](Clock::duration pause) {
    const auto time = Clock::now() + pause;
    deadline = deadline ? std::min(*deadline, time) : time;
  };
  std::array<system::WaitWord, system::max_wait_words> words;
  std::size_t count = 0;
  const auto add = [&](const system::WaitWord& word) {
    if (count < words.size()) words[count] = word;
    ++count;
  };
  add({&commands_, commands_.load(std::memory_order_seq_cst), system::Sharing::process_private});
  for (const auto& worker : workers_) {
    if (worker->noticed_at) {
      at_latest(end_of_notice);
    } else {
      if (life_notice_changed(*worker)) return;
      const system::Word& life = worker->channel.life_word();
      add({&life, life.load(std::memory_order_acquire), system::Sharing::shared});
    }
    worker->watched = others_collect;
  }
  // Doorbells: of those that have something to do, and, as far as the words go, of those that are given tasks first.
  for (const bool idle : {false, true}) {
    for (std::size_t i = 0; i < workers_.size() && !others_collect; ++i) {
      Worker& worker = *workers_[(preferred_ + i) % workers_.size()];
      if (idle != (worker.idle() && worker.was_ready) || (idle && count >= words.size())) continue;
      worker.channel.watchdog_bell().arm();
      add(worker.channel.watchdog_bell().wait_word());
      worker.watched = true;
    }
  }
  if (others_collect) at_latest(nap);
  if (count > words.size() || !system::has_futex_waitv()) {
    at_latest(look_again);
    count = system::has_futex_waitv() ? words.size() : 1;
  }
  // What was published before the bells were armed.
  for (const auto& worker : workers_)
    if (has_news(*worker)) return;
  watchdog_wakes_at_.store(deadline ? deadline->time_since_epoch().count() : INT64_MAX, std::memory_order_relaxed);
  // Who limits memory looks at once whenever there is something to do.
  watchdog_rests_ = (quiet_ || options_.max_worker_memory) &&
                    std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->idle(); });
  watchdog_sleeps_.store(true, std::memory_order_seq_cst);
  lock.unlock();
  if (!deadline || *deadline > Clock::now()) system::futex_wait_any(std::span(words.data(), count), deadline);
  const bool trims = next_trim_ && Clock::now() >= *next_trim_;
  if (trims) system::warm_memory::trim(keep_warm_for);
  lock.lock();
  if (trims) {
    for (const auto& worker : workers_) worker->channel.trim(keep_warm_for);
    next_trim_.reset();
  }
  watchdog_sleeps_.store(false, std::memory_order_seq_cst);
  watchdog_rests_ = false;
  watchdog_wakes_at_.store(0, std::memory_order_relaxed);
}

std::shared_ptr<const Failure> LocalPool::timeout_failure(const Task& task, std::optional<std::uint64_t> item) const {
  return std::make_shared<TextFailure<TimeoutError>>(
      fmt::format("{} ran longer than its timeout of {} ms, and its worker was killed",
                  item ? fmt::format("item {}", *item) : "it", task.options().timeout->count()));
}

void LocalPool::note_progress(Worker& worker, Clock::time_point now) const {
  const auto first = worker.channel.oldest_position();
  worker.progress.look(first, first && worker.channel.started(*first), now);
}

/// When the first task of a worker, seen begun, did begin: the worker tells, but cannot make it later than that was
/// seen.
Clock::time_point LocalPool::start_of_first(const Worker& worker) const {
  const Clock::time_point seen = worker.progress.begun_since().value();
  const auto told = worker.channel.started_ns(worker.channel.first_uncollected());
  return told ? std::min(Clock::time_point(std::chrono::nanoseconds(*told)), seen) : seen;
}

/// When the item of a chunk began that runs: at the end of the one before, as far as that was seen.
Clock::time_point LocalPool::start_of_item(Worker& worker, std::uint64_t position, std::uint64_t count,
                                           Clock::time_point now) const {
  auto& seen = worker.seen_item;
  if (seen.position != position + 1) seen = {position + 1, 0, start_of_first(worker)};
  const std::uint64_t done = worker.channel.chunk_progress(position).items;
  if (done > seen.done && done < count) {
    seen.done = done;
    seen.since = now;
  }
  return seen.since;
}

/// When the time of a task is over. It counts from the task's start; of what is not begun it has not begun to count:
/// except where the worker has nothing else to do and says for long that it does not begin.
Clock::time_point LocalPool::due(Worker& worker, std::uint64_t position, const Task& task,
                                 Clock::time_point now) const {
  const Progress& progress = worker.progress;
  const auto limit = *task.options().timeout;
  if (!progress.of(position) || !worker.was_ready) return time_after(now, limit);
  if (progress.begun_since()) {
    const auto chunk = wire::chunk_arguments(task);
    return time_after(chunk ? start_of_item(worker, position, chunk->count, now) : start_of_first(worker), limit);
  }
  const auto history = history_of_.find(&task);
  const auto before = history == history_of_.end() ? std::nullopt : history->second.first_in_line;
  const auto since = std::min(before.value_or(progress.first_since()), progress.first_since());
  return std::max(time_after(time_after(since, limit), options_.kill_grace),
                  progress.unbegun_for_long() ? since : now + roll_call);
}

/// The worker is asked when the time of one of its tasks could be over.
void LocalPool::check_task_timeouts(Worker& worker, Clock::time_point now) {
  if (!worker.look_at || now < *worker.look_at) return;
  worker.look_at.reset();
  if (worker.mode == WorkerMode::doomed) return;
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
    const auto look_at = begins ? std::min(time, time_after(now, std::max(limit / looks_an_item, look_again))) : time;
    worker.look_at = std::min(worker.look_at.value_or(look_at), look_at);
  }
}

/// Ends the worker for the sake of the task at `position`, which is the first in line. Its slot may say that it is not
/// begun, and then cannot be begun any more; whatever it says, the task is settled with the worker.
void LocalPool::end_late(Worker& worker, std::uint64_t position, const TaskPtr& late) {
  const bool begun = worker.progress.begun_since().has_value();
  if (take_back_first(worker, position)) {
    worker.blamed = late;
  } else if (!begun || !left_alone(worker, *late)) {
    worker.look_at =
        time_after(Clock::now(), std::max(*late->options().timeout, look_again));  // it has begun just now, or is over
    return;
  }
  // What may run again, or has items that do not, is settled at the worker's death: nothing must run twice at once.
  if (static_cast<int>(late->attempts) >= late->options().retries && !late->callable().chunk) {
    late->set_worker_pid(worker.process.pid());
    ++counts_.failed;
    history_of_.erase(late.get());
    late->resolve(failed(timeout_failure(*late, {})));
  }
  if (begun)
    doom(worker, Doom::timed_out);
  else
    doom(worker, Doom::misbehaved, "it did not say within the time of its task that it had begun it, and was killed");
}

}  // namespace yoke::pool
