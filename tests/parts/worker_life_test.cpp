// The states of a worker: every transition from every state.
#include "lib/local/worker_life.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace {

using namespace yoke::local;
using State = WorkerLife::State;

WorkerLife in(State state) {
  WorkerLife life(state == State::spare);
  if (state == State::starting) return life;
  if (state != State::retiring && state != State::killing) life.ready(state == State::initializing);
  if (state == State::retiring) life.retire();
  if (state == State::killing) life.kill(KillReason::cancelled, "first");
  if (state == State::ended) life.end();
  EXPECT_EQ(life.state(), state);
  return life;
}

constexpr State all[] = {State::starting, State::initializing, State::spare, State::serving,
                         State::retiring, State::killing,      State::ended};

TEST(WorkerLife, transitions) {
  struct Row {
    State before;
    std::function<void(WorkerLife&)> change;
    State after;
  };
  const auto ready = [](WorkerLife& life) { life.ready(false); };
  const auto ready_to_initialize = [](WorkerLife& life) { life.ready(true); };
  const auto initialized = [](WorkerLife& life) { life.initialized(); };
  const auto retire = [](WorkerLife& life) { life.retire(); };
  const auto kill = [](WorkerLife& life) { life.kill(KillReason::misbehaved, ""); };
  int row_number = 0;
  for (const Row& row : std::vector<Row>{
           {State::starting, ready, State::serving},
           {State::starting, ready_to_initialize, State::initializing},
           {State::starting, initialized, State::starting},  // its result may be seen before its word
           {State::initializing, initialized, State::serving},
           {State::serving, initialized, State::serving},
           {State::spare, [](WorkerLife& life) { life.promote(); }, State::serving},
           {State::starting, retire, State::retiring},
           {State::initializing, retire, State::retiring},
           {State::spare, retire, State::retiring},
           {State::serving, retire, State::retiring},
           {State::retiring, retire, State::retiring},
           {State::retiring, ready, State::retiring},
           {State::retiring, initialized, State::retiring},
           {State::killing, retire, State::killing},
           {State::killing, ready, State::killing},
           {State::killing, initialized, State::killing},
           {State::ended, retire, State::ended},
       }) {
    WorkerLife life = in(row.before);
    row.change(life);
    EXPECT_EQ(life.state(), row.after) << "row " << row_number;
    ++row_number;
  }
  for (const State before : all) {
    WorkerLife life = in(before);
    if (before != State::ended) {
      kill(life);
      EXPECT_EQ(life.state(), State::killing) << static_cast<int>(before);
      life.end();
    }
    EXPECT_EQ(life.state(), State::ended);
  }
}

TEST(WorkerLife, a_reserve_takes_tasks_once_it_is_promoted) {
  WorkerLife life(true);
  EXPECT_FALSE(life.takes_tasks());
  life.ready(true);
  EXPECT_FALSE(life.takes_tasks());
  life.initialized();
  EXPECT_EQ(life.state(), State::spare);
  EXPECT_FALSE(life.takes_tasks());
  life.promote();
  EXPECT_TRUE(life.takes_tasks());
  EXPECT_FALSE(life.is_reserve());
}

TEST(WorkerLife, what_takes_tasks) {
  for (const State state : all)
    EXPECT_EQ(in(state).takes_tasks(),
              state == State::starting || state == State::initializing || state == State::serving);
}

TEST(WorkerLife, the_first_reason_to_kill_stays) {
  WorkerLife life(false);
  EXPECT_TRUE(life.kill(KillReason::over_memory, "too much"));
  EXPECT_FALSE(life.kill(KillReason::pool_ends, "late"));
  EXPECT_EQ(life.kill_reason(), KillReason::over_memory);
  EXPECT_EQ(life.kill_text(), "too much");
}

TEST(WorkerLife, whether_its_start_is_over_stays_known) {
  WorkerLife life(false);
  life.retire();
  EXPECT_FALSE(life.is_ready());
  life.ready(false);
  EXPECT_TRUE(life.is_ready());
  life.kill(KillReason::misbehaved, "");
  EXPECT_TRUE(life.is_ready());
}

}  // namespace
