// The watchdog: the thread that starts workers, sees their deaths, keeps time, and collects when nobody else does.
//
// It sleeps in one place, on the words by which the kernel and the workers can wake it. It runs no user code and
// unpacks nothing. What it throws fails every future with the reason.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lib/local/local_pool.hpp"
#include "lib/system/life_notice.hpp"

namespace yoke::local {
namespace {

/// While others collect, the watchdog only looks by now and then, and leaves the doorbells to them.
constexpr std::chrono::milliseconds nap{1};
/// Between looks at a process that ends, or when the kernel cannot wait for all that there is.
constexpr std::chrono::milliseconds look_again{2};
constexpr std::chrono::microseconds end_of_notice{200};  // the same, of a worker whose life notice says that it ends
constexpr std::chrono::seconds keep_warm_for{2};
/// For a killed worker, when the watchdog itself has failed.
constexpr std::chrono::seconds last_wait{5};

}  // namespace

/// What the watchdog sleeps on, and until when.
struct LocalPool::Rest {
  std::array<system::WaitWord, system::max_wait_words> words;
  std::size_t count = 0;  // may be more than there is room for
  Deadline deadline;
  Deadline trim_at;  // of warm memory

  void add(const system::WaitWord& word) {
    if (count < words.size()) words[count] = word;
    ++count;
  }
  void at_latest(Clock::duration pause) {
    const auto time = Clock::now() + pause;
    deadline = deadline ? std::min(*deadline, time) : time;
  }
};

void LocalPool::run_watchdog() {
  try {
    life_notices_.hold();  // before the lock: they are held for as long as the thread lives
    system::warm_memory::join(*this);
    keep_watch();
  } catch (const std::exception& error) {
    const Lock lock(mutex_);
    break_pool(std::make_shared<pool::TextFailure<BrokenProcessPool>>(
        fmt::format("the pool's watchdog failed: {}", error.what())));
    for (const auto& worker : roster_) worker->process.wait_exit(Clock::now() + last_wait);
    roster_.clear();
  }
  {
    const Lock lock(mutex_);
    admission_.close();
  }
  life_notices_.retract();
  system::warm_memory::leave(*this);
  system::warm_memory::trim({});  // nobody may be there to do it later
  const Lock lock(mutex_);
  life_notices_.close();  // the pool itself may live on for long
  watchdog_state_ = Watchdog::done;
  watchdog_ended_.notify_all();
}

bool LocalPool::finished(Clock::time_point now) const {
  return admission_.closed() && roster_.empty() && backlog_.empty() && !reaper_.is_awaited(now);
}

void LocalPool::keep_watch() {
  std::uint64_t seen_results = 0;
  for (;;) {
    std::optional<WorkerStarter::Order> start;
    Rest rest;
    {
      const Lock lock(mutex_);
      const std::uint64_t before = results_;
      const bool others_collect = results_ != seen_results;
      const auto now = Clock::now();
      const bool goes_on = look_around(now);
      const bool collected = results_ != before;
      seen_results = results_;
      tune_spinning();
      if (wants_worker())
        start = plan_start();
      else if (!goes_on)
        return;
      else if ((collected && !others_collect) || !plan_rest(rest, now, others_collect))
        continue;  // more may have come meanwhile
    }
    if (!start) {
      this->rest(rest);
      continue;
    }
    WorkerStarter::Started started = starter_.start(*start);
    const Lock lock(mutex_);
    take_started(std::move(started));
  }
}

/// All that is to be done now. False if the pool has come to its end.
bool LocalPool::look_around(Clock::time_point now) {
  collect_all();
  find_ended_workers(now);
  reaper_.reap(now, admission_.killing());
  launch_retries_.end_pause(now);
  for (const auto& worker : roster_) check_time_limits(*worker, now);
  check_memory(now);
  kill_overdue(now);
  rebalance(now);
  dispatch();
  retire_surplus(now);
  return !finished(now);
}

/// What has to be looked after in time, though nothing says when: tasks that wait in the wrong place, and warm memory.
void LocalPool::plan_looks(Clock::time_point now) {
  balance_is_watched_ = imbalanced();
  if (!system::warm_memory::any() &&
      std::ranges::none_of(roster_, [](const auto& worker) { return worker->channel.needs_trim(); }))
    next_trim_.reset();
  else if (!next_trim_)
    next_trim_ = now + keep_warm_for;
}

/// When something is due, at the latest.
std::optional<Clock::time_point> LocalPool::next_deadline(Clock::time_point now) const {
  std::optional<Clock::time_point> earliest;
  const auto at_latest = [&earliest](const std::optional<Clock::time_point>& time) {
    if (time) earliest = earliest ? std::min(*earliest, *time) : *time;
  };
  at_latest(launch_retries_.next_try());
  at_latest(shortage_.again_at());
  at_latest(reaper_.next_look(now));
  if (balance_is_watched_) at_latest(now + nap);
  at_latest(next_trim_);
  for (const auto& worker : roster_) {
    at_latest(worker->kill_at());
    at_latest(worker->look_at());
    if (!worker->is_ready() || worker->unclear_since() || (worker->is_killed() && !worker->kill_at()))
      at_latest(now + look_again);
    if (!worker->idle() || worker->hangs() || !scan_.quiet()) at_latest(scan_.next());
    if (!worker->idle() && options_.max_worker_memory) at_latest(next_memory_look_);
    if (worker->is_in_service() && worker->idle() && leaves_at(*worker) != Clock::time_point::max())
      at_latest(leaves_at(*worker));
  }
  return earliest;
}

/// It has told something that was not seen yet.
bool LocalPool::has_news(const Worker& worker) const {
  const auto& channel = worker.channel;
  return channel.peek() || (channel.crashed() && !worker.noticed_at()) ||
         (!worker.is_ready() && channel.says_ready()) || (channel.too_large() && worker.is_in_service());
}

/// False if there is something to do already.
bool LocalPool::plan_rest(Rest& rest, Clock::time_point now, bool others_collect) {
  rest.add(sleep_.word());
  plan_looks(now);
  rest.deadline = next_deadline(now);
  rest.trim_at = next_trim_;
  for (const auto& worker : roster_) {
    if (worker->noticed_at()) {
      rest.at_latest(end_of_notice);
    } else {
      if (worker->life_notice_changed()) return false;
      const system::Word& life = worker->channel.life_word();
      rest.add({&life, life.load(std::memory_order_acquire), system::Sharing::shared});
    }
    worker->watched = others_collect;
  }
  // Doorbells: of those that have something to do, and, as far as the words go, of those that are given tasks first.
  for (const bool idle : {false, true}) {
    for (std::size_t i = 0; i < roster_.size() && !others_collect; ++i) {
      Worker& worker = roster_[(roster_.preferred() + i) % roster_.size()];
      if (idle != (worker.idle() && worker.is_ready()) || (idle && rest.count >= rest.words.size())) continue;
      worker.channel.watchdog_bell().arm();
      rest.add(worker.channel.watchdog_bell().wait_word());
      worker.watched = true;
    }
  }
  if (others_collect) rest.at_latest(nap);
  if (rest.count > rest.words.size() || !system::has_futex_waitv()) {
    rest.at_latest(look_again);
    rest.count = system::has_futex_waitv() ? rest.words.size() : 1;
  }
  // What was published before the bells were armed.
  if (std::ranges::any_of(roster_, [this](const auto& worker) YOKE_REQUIRES(mutex_) { return has_news(*worker); }))
    return false;
  // Who limits memory looks at once whenever there is something to do.
  sleep_.announce(rest.deadline, (scan_.quiet() || options_.max_worker_memory) &&
                                     std::ranges::all_of(roster_, [](const auto& worker) { return worker->idle(); }));
  return true;
}

void LocalPool::rest(const Rest& rest) {
  sleep_.sleep(std::span(rest.words.data(), rest.count), rest.deadline);
  const bool trims = rest.trim_at && Clock::now() >= *rest.trim_at;
  if (trims) system::warm_memory::trim(keep_warm_for);
  const Lock lock(mutex_);
  sleep_.over();
  if (!trims) return;
  for (const auto& worker : roster_) worker->channel.trim(keep_warm_for);
  next_trim_.reset();
}

}  // namespace yoke::local
