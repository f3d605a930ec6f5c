// Statistics and events: what a pool tells of its workers and tasks. Spare workers, which they show best.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using yoke::EventKind;
using yoke::WorkerState;

enum Word : unsigned { entered, gate };

void crash() { std::abort(); }
void leave(int code) { std::exit(code); }
int refuse() { throw std::runtime_error("no"); }
int own_rank() { return yoke::this_worker::rank(); }
int note_rank_and_pass(const Board& board, unsigned gate_word) {
  pass_gate(board, entered, gate_word);
  return yoke::this_worker::rank();
}

std::multiset<WorkerState> states(const yoke::Stats& stats) {
  std::multiset<WorkerState> all;
  for (const auto& worker : stats.workers) all.insert(worker.state);
  return all;
}

using StatsTest = PoolTest;

TEST_F(StatsTest, deaths_are_counted_by_their_cause) {
  restart({.max_workers = 2, .kill_grace = 100ms});
  EXPECT_EQ(death_of(pool->submit(kill_self, SIGKILL)).signal, SIGKILL);
  death_of(pool->submit(crash));
  death_of(pool->submit(leave, 3));
  auto late = pool->submit({.timeout = 20ms}, pass_gate, board, entered, gate);
  thrown_by<yoke::TimeoutError>([&] { soon(late).get(); });
  auto busy = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered, 2);
  EXPECT_TRUE(busy.cancel(yoke::CancelMode::kill));
  wait_until([&] { return pool->stats().deaths_by_cause.cancelled == 1; }, "the death of the cancelled task's worker");
  const auto causes = pool->stats().deaths_by_cause;
  EXPECT_EQ(causes.killed, 1U);
  EXPECT_EQ(causes.crashed, 1U);
  EXPECT_EQ(causes.exited, 1U);
  EXPECT_EQ(causes.timed_out, 1U);
  EXPECT_EQ(causes.misbehaved + causes.out_of_memory + causes.over_memory_limit, 0U);
  EXPECT_EQ(pool->stats().deaths, 3U);  // those that nobody wanted
}

void expect_to_add_up(const yoke::Stats& stats) {
  EXPECT_EQ(stats.submitted, stats.waiting + stats.running + stats.done + stats.failed + stats.cancelled);
}
void pass_in_initializer(const Board& board) {
  board.add(entered);
  board.wait_for(gate);
}

TEST_F(StatsTest, D24_an_initializer_is_no_task) {
  restart({.max_workers = 1, .initializer = yoke::initializer(pass_in_initializer, board)});
  auto future = pool->submit(add_one, 1);
  board.wait_for(entered);
  const auto stats = pool->stats();
  EXPECT_EQ(stats.submitted, 1U);
  EXPECT_EQ(stats.waiting, 1U);
  EXPECT_EQ(stats.running, 0U);
  board.add(gate);
  EXPECT_EQ(soon(future).get(), 2);
  expect_to_add_up(pool->stats());
}

TEST_F(StatsTest, D24_the_numbers_add_up_whatever_becomes_of_tasks) {
  restart({.max_workers = 1, .kill_grace = 100ms});
  auto running = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  std::vector<yoke::Future<int>> waiting;
  for (int i = 0; i < 1003; ++i) waiting.push_back(pool->submit(add_one, i));
  for (int i = 0; i < 999; ++i) EXPECT_TRUE(waiting[static_cast<std::size_t>(i)].cancel());
  const auto stats = pool->stats();
  EXPECT_EQ(stats.running, 1U);
  EXPECT_EQ(stats.cancelled, 999U);
  EXPECT_EQ(stats.waiting, 4U);
  expect_to_add_up(stats);
  board.add(gate);
  for (int i = 999; i < 1003; ++i) EXPECT_EQ(soon(waiting[static_cast<std::size_t>(i)]).get(), i + 1);
  EXPECT_THROW(soon(pool->submit(refuse)).get(), std::runtime_error);
  death_of(pool->submit({.retries = 2}, kill_self, SIGKILL));
  auto late = pool->submit({.timeout = 20ms}, pass_gate, board, entered, 7U);
  expect_to_add_up(pool->stats());
  EXPECT_THROW(soon(late).get(), yoke::TimeoutError);
  expect_to_add_up(pool->stats());
  EXPECT_EQ(pool->stats().waiting + pool->stats().running, 0U);
}

TEST_F(StatsTest, D24_cancelled_tasks_start_no_worker) {
  restart({.max_workers = 3});
  auto running = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  pool->resize(1);
  std::vector<yoke::Future<int>> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(pool->submit(add_one, i));
  for (auto& future : waiting) EXPECT_TRUE(future.cancel());
  pool->resize(3);
  board.add(gate);
  soon(running).get();
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
  EXPECT_EQ(pool->stats().started, 1U);
}

TEST_F(StatsTest, deaths_are_counted_by_rank) {
  restart({.max_workers = 2});
  prime(*pool, 2, board);
  auto busy = pool->submit(note_rank_and_pass, board, gate);
  board.wait_for(entered);
  for (int i = 0; i < 3; ++i) death_of(pool->submit(crash));  // all in the other worker
  board.add(gate);
  const int rank = soon(busy).get();
  prime(*pool, 2, board);
  for (const auto& worker : pool->stats().workers) EXPECT_EQ(worker.deaths, worker.rank == rank ? 0U : 3U);
}

TEST_F(StatsTest, a_worker_is_shown_with_its_task) {
  restart({.max_workers = 1});
  soon(pool->submit(add_one, 1)).get();
  auto busy = pool->submit({.name = "the gate"}, pass_gate, board, entered, gate);
  board.wait_for(entered);
  const auto worker = pool->stats().workers.at(0);
  EXPECT_EQ(worker.state, WorkerState::busy);
  EXPECT_EQ(worker.task, "the gate");
  EXPECT_EQ(worker.tasks_done, 1U);
  EXPECT_EQ(worker.rank, 0);
  EXPECT_GT(worker.memory, 0U);
  EXPECT_GT(worker.age.count(), 0);
  board.add(gate);
  EXPECT_EQ(soon(busy).get(), worker.pid);
}

// --- spare workers ---------------------------------------------------------------------------------------------------

TEST_F(StatsTest, a_spare_worker_is_ready_beyond_need) {
  restart({.max_workers = 1, .spare_workers = 1});
  EXPECT_TRUE(pool->stats().workers.empty());  // nothing is needed yet
  const int first = soon(pool->submit(own_pid)).get();
  wait_until([&] { return states(pool->stats()).count(WorkerState::spare) == 1; }, "a spare worker");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(soon(pool->submit(own_pid)).get(), first);  // it gets no tasks
}

TEST_F(StatsTest, it_takes_the_place_and_the_rank_of_one_that_died) {
  restart({.max_workers = 2, .spare_workers = 1});
  prime(*pool, 2, board);
  for (unsigned round = 0; round < 5; ++round) {
    const unsigned gate_of_round = gate + round;
    wait_until([&] { return states(pool->stats()).count(WorkerState::spare) == 1; }, "a spare worker");
    int spare = 0;
    for (const auto& worker : pool->stats().workers)
      if (worker.state == WorkerState::spare) spare = worker.pid;
    auto busy = pool->submit(note_rank_and_pass, board, gate_of_round);
    board.wait_for(entered, 2 * round + 1);
    const auto death = death_of(pool->submit(crash));
    auto next = pool->submit(note_rank_and_pass, board, gate_of_round);
    board.wait_for(entered, 2 * round + 2);
    board.add(gate_of_round);
    EXPECT_EQ(soon(next).result(), death.rank);
    EXPECT_EQ(next.worker_pid(), spare);
    EXPECT_NE(soon(busy).get(), death.rank);
  }
}

TEST_F(StatsTest, spare_workers_leave_with_the_others) {
  restart({.max_workers = 2, .timeout = 20ms, .spare_workers = 2});
  prime(*pool, 2, board);
  wait_until([&] { return pool->stats().workers.empty(); }, "all workers to leave");
  EXPECT_EQ(soon(pool->submit(own_rank)).get(), 0);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(StatsTest, a_negative_number_is_refused) {
  const auto error = thrown_by<std::invalid_argument>([] { yoke::ProcessPoolExecutor wrong({.spare_workers = -1}); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "spare_workers must not be negative, and is -1");
}

TEST_F(StatsTest, options_without_sense_are_refused) {
  using Env = std::map<std::string, std::string>;
  for (const Env& env : {Env{{"", "1"}}, Env{{"A=B", "1"}}, Env{{std::string("A\0B", 3), "1"}},
                         Env{{"A", std::string("1\0", 2)}}, Env{{"YOKE_WORKER", "3,4,5"}}}) {
    const auto error = thrown_by<std::invalid_argument>([&] { yoke::ProcessPoolExecutor wrong({.env = env}); });
    ASSERT_TRUE(error) << env.begin()->first;
    EXPECT_EQ(std::string(error->what()).find("env: "), 0U);
  }
  EXPECT_THROW(yoke::ProcessPoolExecutor({.restart_budget = {.deaths = 1, .within = std::chrono::seconds(-1)}}),
               std::invalid_argument);
}

// --- events ----------------------------------------------------------------------------------------------------------

class Recorder final : public yoke::Observer {
 public:
  void on_event(const yoke::Event& event) override {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
  }
  std::vector<yoke::Event> events() const {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  std::vector<EventKind> of_worker(int pid) const {
    std::vector<EventKind> kinds;
    for (const auto& event : events())
      if (event.pid == pid) kinds.push_back(event.kind);
    return kinds;
  }
  std::size_t count(EventKind kind) const {
    std::size_t n = 0;
    for (const auto& event : events()) n += event.kind == kind;
    return n;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<yoke::Event> events_;
};

TEST_F(StatsTest, an_observer_is_told_of_workers_and_tasks_in_order) {
  const auto recorder = std::make_shared<Recorder>();
  restart({.max_workers = 1, .observer = recorder});
  const int pid = soon(pool->submit({.name = "one"}, own_pid)).get();
  thrown_by<std::runtime_error>([&] { soon(pool->submit({.name = "two"}, refuse)).get(); });
  shut_down_in_time(*pool);
  wait_until([&] { return recorder->count(EventKind::worker_retired) == 1; }, "the last event");
  using enum EventKind;
  EXPECT_EQ(recorder->of_worker(pid), (std::vector{worker_started, worker_ready, task_started, task_done, task_started,
                                                   task_done, worker_retired}));
  const auto events = recorder->events();
  EXPECT_EQ(events.at(2).task, "one");
  EXPECT_FALSE(events.at(3).failed);
  EXPECT_EQ(events.at(5).task, "two");
  EXPECT_TRUE(events.at(5).failed);
  for (const auto& event : events) EXPECT_EQ(event.rank, 0);
}

TEST_F(StatsTest, an_observer_is_told_of_a_death_with_its_report) {
  const auto recorder = std::make_shared<Recorder>();
  restart({.max_workers = 1, .observer = recorder});
  const auto death = death_of(pool->submit(kill_self, SIGKILL));
  wait_until([&] { return recorder->count(EventKind::task_done) == 1; }, "the task's end to be told");
  using enum EventKind;
  EXPECT_EQ(recorder->of_worker(death.pid),
            (std::vector{worker_started, worker_ready, task_started, worker_died, task_done}));
  for (const auto& event : recorder->events()) {
    if (event.kind != worker_died) continue;
    ASSERT_TRUE(event.death);
    EXPECT_EQ(event.death->signal, SIGKILL);
    EXPECT_EQ(event.death->task, death.task);
  }
}

TEST_F(StatsTest, a_long_task_is_told_while_it_runs) {
  const auto recorder = std::make_shared<Recorder>();
  restart({.max_workers = 1, .observer = recorder});
  auto busy = pool->submit(pass_gate, board, entered, gate);
  wait_until([&] { return recorder->count(EventKind::task_started) == 1; }, "the start to be told");
  EXPECT_FALSE(busy.done());
  board.add(gate);
  soon(busy).get();
  wait_until([&] { return recorder->count(EventKind::task_done) == 1; }, "the end to be told");
  EXPECT_EQ(recorder->count(EventKind::task_started), 1U);
}

TEST_F(StatsTest, every_task_is_told_once_with_initializers_and_many_workers) {
  const auto recorder = std::make_shared<Recorder>();
  restart({.max_workers = 4, .initializer = yoke::initializer(start_late_now_and_then), .observer = recorder});
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 1000; ++i) futures.push_back(pool->submit(add_one, i));
  for (auto& future : futures) soon(future).get();
  wait_until([&] { return recorder->count(EventKind::task_done) == 1000; }, "all ends to be told");
  EXPECT_EQ(recorder->count(EventKind::task_started), 1000U);
  EXPECT_EQ(recorder->count(EventKind::worker_started), pool->stats().started);
}

class Meddler final : public yoke::Observer {
 public:
  yoke::ProcessPoolExecutor* pool = nullptr;
  std::atomic<int> results{0};
  void on_event(const yoke::Event& event) override {
    if (event.kind != EventKind::task_done || event.task != "first") return;
    pool->resize(2);
    pool->submit(add_one, 1).add_done_callback([this](yoke::Future<int> future) { results += future.get(); });
    throw std::runtime_error("thrown by the observer");
  }
};

TEST_F(StatsTest, an_observer_may_submit_and_throw) {
  const auto meddler = std::make_shared<Meddler>();
  restart({.max_workers = 1, .observer = meddler});
  meddler->pool = pool.get();
  expect_stderr("thrown by the observer");
  soon(pool->submit({.name = "first"}, own_pid)).get();
  wait_until([&] { return meddler->results == 2; }, "what the observer has submitted");
  EXPECT_EQ(pool->max_workers(), 2);
}

TEST_F(StatsTest, an_in_process_pool_tells_of_its_tasks) {
  const auto recorder = std::make_shared<Recorder>();
  yoke::Executor executor(yoke::make_in_process_pool({.observer = recorder}));
  executor.submit(add_one, 1).get();
  executor.shutdown();
  wait_until([&] { return recorder->count(EventKind::task_done) == 1; }, "the end to be told");
  using enum EventKind;
  EXPECT_EQ(recorder->of_worker(::getpid()), (std::vector{task_started, task_done}));
}

}  // namespace
