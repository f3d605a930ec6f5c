// C3, C4, C8, C9: a worker dies at each step of the protocol, on its own side and on its parent's, or scribbles over a
// result. Whatever the step, each future is resolved once, with its value or its error, and the pool goes on.
#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <iterator>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/faults.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

/// A value that knows what it must look like, and passes a fault point wherever its own code runs in a worker.
struct Parcel {
  int id = 0;
  std::size_t size = 0;
  bool unpacked_here = false;

  Parcel() = default;
  Parcel(int id_, std::size_t size_) : id(id_), size(size_) {}
  Parcel(Parcel&& other) noexcept
      : id(other.id), size(other.size), unpacked_here(std::exchange(other.unpacked_here, false)) {}
  Parcel(const Parcel& other) : id(other.id), size(other.size) {}
  Parcel& operator=(const Parcel&) = delete;
  ~Parcel() {
    if (unpacked_here) YOKE_FAULT_POINT(in_destructor);
  }
  std::string content() const { return std::to_string(id) + std::string(size, static_cast<char>('a' + id % 26)); }
};

}  // namespace

template <>
struct yoke::Codec<Parcel> {
  static void pack(Packer& packer, const Parcel& parcel) {
    packer.pack_array(2);
    pack_value(packer, std::pair(parcel.id, parcel.size));
    YOKE_FAULT_POINT(in_encode);
    pack_value(packer, parcel.content());
  }
  static Parcel unpack(const Object& object) {
    const auto items = detail::unpack_array(object, 2);
    const auto [id, size] = unpack_value<std::pair<int, std::size_t>>(items[0]);
    YOKE_FAULT_POINT(in_decode);
    Parcel parcel(id, size);
    if (unpack_value<std::string>(items[1]) != parcel.content()) throw std::logic_error("a parcel is not what it was");
    parcel.unpacked_here = yoke::this_worker::is_worker();
    return parcel;
  }
};

namespace {

enum Word : unsigned { entered, gate };

int hold(const Board& board) {
  YOKE_FAULT_POINT(in_function);
  return pass_gate(board, entered, gate);
}
Parcel carry(const Parcel& parcel) {
  YOKE_FAULT_POINT(in_function);
  return parcel;
}
/// An array of this worker's own.
yoke::SharedArray<int> extend(const yoke::SharedArray<int>& shorter) {
  yoke::SharedArray<int> array(8);
  std::ranges::fill(array, -1);
  std::ranges::copy(shorter, array.begin());
  return array;
}
int negate(int value) { return -value; }
int refuse(int value) { throw std::out_of_range("refused " + std::to_string(value)); }

/// What became of all that was submitted.
struct Outcomes {
  unsigned right = 0, cancelled = 0, refused = 0, broken = 0;
  std::vector<int> lost;  // pid of each worker whose death was told
  std::vector<std::string> damaged;  // other errors, and wrong values
};

/// A mixed load on two workers that retire after a few tasks, and what is to come of each task.
class Load {
 public:
  explicit Load(const Faults& faults)
      : pool({.max_workers = 2, .env = faults.env(), .max_tasks_per_worker = 12}), faults_(faults) {}

  /// All of it, until the pool is shut down.
  void run() {
    const Board& board = faults_.board();
    for (int i = 0; i < 2; ++i) submit<int>([](int pid) { return pid > 0; }, hold, board);
    std::vector<yoke::Future<int>> ahead;
    for (int i = 0; i < 4; ++i)
      if (const auto future = submit<int>(is_negated(i), negate, i)) ahead.push_back(*future);
    // Both workers run, and each has one more, unless a fault came first.
    wait_until([&] { return board.get(entered) == 2 || faults_.all_fired() || broken(); }, "the workers");
    for (auto& future : ahead) future.cancel();
    board.add(gate);
    for (int i = 0; i < 42; ++i) submit_one_of_seven(i);
    if (held_) {
      wait_until([&] { return faults_.all_fired() && called_back() + *held_ >= items_.size(); }, "all other tasks");
      faults_.end_frozen();
    }
    for (Item& item : items_) item.settle(outcomes);
    wait_until([&] { return faults_.all_fired() || broken(); }, "the faults to happen");
    wait_until([&] { return broken() || !has_victims(); }, "the dead to be buried");
    try {
      EXPECT_EQ(soon(pool.submit(add_one, 1)).get(), 2);
    } catch (const yoke::BrokenProcessPool& error) {
      why_broken = error.what();
    }
    stats = pool.stats();
    shut_down_in_time(pool);
    wait_until([&] { return called_back() == items_.size(); }, "each callback");
    for (const Item& item : items_) EXPECT_EQ(item.callbacks, 1U);
  }
  /// A frozen worker keeps at most so many tasks; it is ended when all others are done.
  void let_keep(std::size_t tasks) { held_ = tasks; }
  bool has_victims() const {
    const auto workers = pool.stats().workers;
    return std::ranges::any_of(workers, [&](const auto& worker) { return faults_.is_victim(worker.pid); });
  }
  bool broken() const { return !pool.pool()->accepting(); }
  std::size_t submitted() const { return items_.size(); }

  yoke::ProcessPoolExecutor pool;
  Outcomes outcomes;
  yoke::Stats stats;  // before the shutdown
  std::string why_broken;  // before its end; empty: it was not

 private:
  struct Item {
    std::function<void(Outcomes&)> settle;
    std::atomic<unsigned> callbacks{0};
  };

  std::size_t called_back() const {
    return static_cast<std::size_t>(
        std::count_if(items_.begin(), items_.end(), [](const Item& item) { return item.callbacks != 0; }));
  }

  static std::function<bool(int)> is_negated(int i) {
    return [i](int value) { return value == -i; };
  }

  void submit_one_of_seven(int i) {
    const auto carries = [&](std::size_t size) {
      const auto is_same = [i, size](const Parcel& parcel) { return parcel.id == i && parcel.size == size; };
      submit<Parcel>(is_same, carry, Parcel(i, size));
    };
    const auto shares = [&](int first) {
      const auto goes_on = [first](const auto& array) {
        return array.size() == 8 && array[0] == first && array[7] == -1;
      };
      submit<yoke::SharedArray<int>>(goes_on, extend, yoke::SharedArray<int>(std::array{first}));
    };
    switch (i % 7) {
      case 0: return carries(5'000);  // through the arena
      case 1: return carries(100'000);  // through memory of its own
      case 2: return carries(0);
      case 3: submit<int>(is_negated(i), yoke::TaskOptions{.retries = 1}, negate, i); return;
      case 4:
        if (auto future = submit<int>(is_negated(i), negate, i)) future->cancel();
        return;
      case 5: return shares(i);
      default: submit<int>([](int) { return false; }, refuse, i); return;
    }
  }

  /// Empty if the pool is broken.
  template <class T, class... A>
  std::optional<yoke::Future<T>> submit(std::function<bool(const T&)> is_right, A&&... what) {
    std::optional<yoke::Future<T>> future;
    try {
      future = pool.submit(std::forward<A>(what)...);
    } catch (const yoke::BrokenProcessPool&) {
      ++outcomes.refused;
      return future;
    }
    Item& item = items_.emplace_back();
    future->add_done_callback([&item](const auto&) { ++item.callbacks; });
    item.settle = [future = *future, is_right](Outcomes& all) mutable {
      try {
        if (is_right(soon(future).get()))
          ++all.right;
        else
          all.damaged.push_back("a wrong value");
      } catch (const std::out_of_range&) {
        ++all.right;  // a refusal
      } catch (const yoke::CancelledError&) {
        ++all.cancelled;
      } catch (const yoke::TerminatedWorkerError& error) {
        all.lost.push_back(error.death().pid);
      } catch (const yoke::BrokenProcessPool&) {
        ++all.broken;
      } catch (const std::exception& error) {
        all.damaged.push_back(error.what());
      }
    };
    return future;
  }

  const Faults& faults_;
  std::optional<std::size_t> held_;
  std::deque<Item> items_;
};

/// What a worker's death at a point costs.
enum class Cost {
  nothing,  // it has no task, or has published its result
  its_task,  // the one that it has claimed
  perhaps,  // its task, if it runs one: the parent cannot know
  start  // nothing if it was killed from outside; a crash breaks the pool, since it would come again
};
struct Step {
  FaultPoint point;
  Cost cost;
  std::vector<std::uint32_t> nth;  // passings to walk
};
void PrintTo(const Step& step, std::ostream* out) { *out << to_string(step.point); }
std::string step_name(const testing::TestParamInfo<Step>& step) { return to_string(step.param.point); }

using enum FaultPoint;

/// Each point has its line here: see every_point_is_walked.
const std::vector<Step> steps{
    {bootstrap_taken, Cost::start, {1, 2, 3}},
    {life_notice_held, Cost::start, {1, 3}},
    {identity_compared, Cost::start, {1, 3}},
    {lifeline_started, Cost::start, {1, 3}},
    {crash_handler_installed, Cost::start, {1, 3}},
    {before_ready, Cost::start, {1, 2, 3}},
    {after_ready, Cost::nothing, {1, 3}},
    {bell_armed, Cost::nothing, {1}},
    {before_claim, Cost::nothing, {1, 5}},
    {after_claim, Cost::its_task, {1, 5}},
    {argument_memory_received, Cost::perhaps, {1}},  // also while it waits
    {before_decode, Cost::its_task, {1, 5}},
    {in_decode, Cost::its_task, {1, 4}},
    {in_function, Cost::its_task, {2, 5}},
    {in_encode, Cost::its_task, {1, 4}},
    {before_publish, Cost::its_task, {1, 5}},
    {shared_memory_sent, Cost::its_task, {1, 3}},
    {arena_taken, Cost::its_task, {1, 4}},
    {arena_written, Cost::its_task, {1, 4}},
    {memory_lent, Cost::its_task, {1, 4}},
    {memory_sent, Cost::its_task, {1, 4}},
    {result_placed, Cost::its_task, {1, 6}},
    {result_written, Cost::its_task, {1, 6}},
    {result_sequenced, Cost::nothing, {1, 6}},
    {result_rung, Cost::nothing, {1, 6}},
    {in_destructor, Cost::nothing, {1, 4}},
    {task_finished, Cost::nothing, {1, 6}},
    {stop_seen, Cost::nothing, {1}},
    {before_exit, Cost::nothing, {1}},
    {before_launch, Cost::perhaps, {1}},
    {after_launch, Cost::perhaps, {1, 2, 3}},
    {launch_settled, Cost::perhaps, {1, 2, 3}},
    {before_make_ready, Cost::perhaps, {1, 6}},
    {after_make_ready, Cost::perhaps, {1, 6}},
    {argument_memory_sent, Cost::perhaps, {1}},
    {after_dispatch, Cost::perhaps, {1, 6}},
    {before_fetch, Cost::perhaps, {1, 6}},
    {after_fetch, Cost::perhaps, {1, 6}},
    {after_resolve, Cost::perhaps, {1, 6}},
    {before_revoke, Cost::perhaps, {1, 2}},
    {after_revoke, Cost::perhaps, {1, 2}},
    {asked_to_leave, Cost::perhaps, {1}},
    {before_burial, Cost::perhaps, {1}},
    {burial_collected, Cost::perhaps, {1}},
    {burial_group_ended, Cost::perhaps, {1}},
    {burial_requeued, Cost::perhaps, {1}},
    {burial_mourned, Cost::perhaps, {1}},
    {burial_task_lost, Cost::perhaps, {1}},
    {after_burial, Cost::perhaps, {1}},
};

TEST(FaultWalk, every_point_is_walked) {
  for (unsigned point = 0; point < static_cast<unsigned>(FaultPoint::count); ++point)
    EXPECT_EQ(std::count_if(steps.begin(), steps.end(),
                            [&](const Step& step) { return step.point == static_cast<FaultPoint>(point); }),
              1)
        << to_string(static_cast<FaultPoint>(point));
}

class FaultWalk : public HouseTest, public testing::WithParamInterface<Step> {
 protected:
  void SetUp() override {
    HouseTest::SetUp();
    may_write_stderr();  // a sanitizer reports the crashes
  }
};

/// At a burial and before a launch, the worker that is harmed is another one: both of them die at about the same time.
std::vector<Order> orders_at(const Step& step, Act act, std::uint32_t nth) {
  std::vector<Order> orders;
  if (step.point >= before_burial || step.point == before_launch)
    orders.push_back({.point = in_function, .act = Act::kill, .nth = 2});
  orders.push_back({.point = step.point, .act = act, .nth = nth});
  return orders;
}

/// Each death that a future tells of is one that was ordered, and no worker took two tasks along.
void check_lost(const Faults& faults, const Outcomes& outcomes) {
  for (const int pid : outcomes.lost) {
    EXPECT_TRUE(faults.is_victim(pid)) << pid;
    EXPECT_EQ(std::count(outcomes.lost.begin(), outcomes.lost.end(), pid), 1) << pid;
  }
}

void check_cost(const Step& step, Act act, const Faults& faults, const Load& load) {
  const Outcomes& all = load.outcomes;
  const std::size_t taken = all.lost.size() + load.stats.retried;
  const std::size_t before = faults.orders() - 1;  // deaths that were to come before the one at this point
  EXPECT_TRUE(all.damaged.empty()) << all.damaged.front();
  EXPECT_LE(load.stats.deaths, faults.orders());
  check_lost(faults, all);
  const bool in_a_start = step.cost == Cost::start || !faults.victim_was_ready(faults.orders() - 1);
  if (!load.why_broken.empty()) {
    EXPECT_TRUE(act == Act::crash && in_a_start) << "the pool is broken: " << load.why_broken;
    return;
  }
  EXPECT_FALSE(act == Act::crash && step.cost == Cost::start) << "the pool goes on, into the same crash";
  EXPECT_EQ(all.broken + all.refused, 0U);
  EXPECT_EQ(all.right + all.cancelled + all.lost.size(), load.submitted());
  if (step.cost == Cost::perhaps)
    EXPECT_LE(taken, before + 1);
  else
    EXPECT_EQ(taken, step.cost == Cost::its_task ? 1U : 0U);
}

TEST_P(FaultWalk, C3_costs_at_most_the_task_that_the_worker_ran) {
  for (const Act act : {Act::kill, Act::crash, Act::stop})
    for (const std::uint32_t nth : GetParam().nth) {
      SCOPED_TRACE(std::string(to_string(act)) + " at passing " + std::to_string(nth));
      const Faults faults(orders_at(GetParam(), act, nth));
      Load load(faults);
      load.run();
      EXPECT_TRUE(faults.fired(faults.orders() - 1)) << "passed " << faults.passes(GetParam().point) << " times";
      check_cost(GetParam(), act, faults, load);
    }
}

INSTANTIATE_TEST_SUITE_P(Points, FaultWalk, testing::ValuesIn(steps), step_name);

class FreezeWalk : public FaultWalk {};

TEST_P(FreezeWalk, C8_a_stopped_worker_keeps_only_the_task_that_it_ran) {
  const Faults faults({{.point = GetParam().point, .act = Act::freeze, .nth = GetParam().nth.back()}});
  Load load(faults);
  load.let_keep(GetParam().cost == Cost::its_task ? 1 : 0);
  load.run();
  check_cost(GetParam(), Act::freeze, faults, load);
}

std::vector<Step> steps_of_a_worker() {
  std::vector<Step> chosen;
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(chosen),
               [](const Step& step) { return step.cost != Cost::perhaps; });
  return chosen;
}
INSTANTIATE_TEST_SUITE_P(Points, FreezeWalk, testing::ValuesIn(steps_of_a_worker()), step_name);

class ScribbleWalk : public FaultWalk {};

/// A wrong length or place is an error of that one task. Its worker is replaced, which may cost the task that it runs.
TEST_P(ScribbleWalk, C9_a_scribbled_result_is_an_error_or_right) {
  for (unsigned scribble = 0; scribble < static_cast<unsigned>(Scribble::count); ++scribble)
    for (const std::uint32_t nth : GetParam().nth) {
      SCOPED_TRACE("scribble " + std::to_string(scribble) + " at passing " + std::to_string(nth));
      const Faults faults({{GetParam().point, Act::scribble, nth, 0, static_cast<Scribble>(scribble)}});
      Load load(faults);
      load.run();
      const Outcomes& all = load.outcomes;
      EXPECT_TRUE(faults.all_fired());
      EXPECT_LE(all.damaged.size(), 1U);
      for (const auto& text : all.damaged) EXPECT_NE(text, "a wrong value");
      EXPECT_LE(all.lost.size(), 1U);
      check_lost(faults, all);
      EXPECT_EQ(all.right + all.cancelled + all.lost.size() + all.damaged.size(), load.submitted());
    }
}

const std::vector<Step> scribbled{
    {result_written, Cost::perhaps, {1, 4, 5, 6, 7}},
    {result_sequenced, Cost::perhaps, {1, 4, 5, 6, 7}},
};
INSTANTIATE_TEST_SUITE_P(Points, ScribbleWalk, testing::ValuesIn(scribbled), step_name);

using SingleFault = HouseTest;

TEST_F(SingleFault, C14_a_signal_from_outside_during_a_start_breaks_no_pool) {
  for (const FaultPoint point : {bootstrap_taken, lifeline_started, before_ready}) {
    const Faults faults({{.point = point, .act = Act::hang_up}});
    yoke::ProcessPoolExecutor pool({.max_workers = 1, .env = faults.env()});
    EXPECT_EQ(soon(pool.submit(add_one, 3)).get(), 4);
    EXPECT_TRUE(faults.all_fired());
    EXPECT_EQ(pool.stats().deaths, 1U);
    shut_down_in_time(pool);
  }
}

TEST_F(SingleFault, C8_a_worker_stopped_before_it_tells_its_tasks_start_is_caught_by_the_timeout) {
  const Faults faults({{.point = after_claim, .act = Act::freeze, .nth = 2}});
  yoke::ProcessPoolExecutor pool({.max_workers = 1, .env = faults.env(), .kill_grace = 10ms});
  soon(pool.submit(add_one, 1)).get();
  EXPECT_THROW(soon(pool.submit({.timeout = 10ms}, add_one, 2)).get(), yoke::TimeoutError);
  EXPECT_EQ(soon(pool.submit(add_one, 3)).get(), 4);
  shut_down_in_time(pool);
}

/// And the task that the worker had begun by the time that this was seen, if any.
TEST_F(SingleFault, C9_a_scribbled_result_of_an_initializer_costs_its_worker) {
  const Faults faults({{.point = result_written, .act = Act::scribble, .scribble = Scribble::endless}});
  yoke::ProcessPoolExecutor pool({.max_workers = 1, .env = faults.env(), .initializer = yoke::initializer([] {})});
  auto first = pool.submit(add_one, 1);
  try {
    EXPECT_EQ(soon(first).get(), 2);
  } catch (const yoke::TerminatedWorkerError& error) {
    EXPECT_NE(error.death().reason.find("its initializer left a result that cannot be"), std::string::npos);
  }
  wait_until([&] { return pool.stats().deaths == 1; }, "the death of the worker that scribbled");
  EXPECT_EQ(soon(pool.submit(add_one, 2)).get(), 3);
  shut_down_in_time(pool);
}

}  // namespace
