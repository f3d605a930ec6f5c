// The scheduler's rules as tables, over workers that are only their answers.
#include "lib/local/scheduler.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using namespace yoke::local;
using scheduler::Limits;
using scheduler::Load;

struct View {
  bool ready = true;
  std::size_t tasks = 0;
  bool taking = true;
  bool hanging = false;
  bool slow = false;
  bool full = false;
  bool killed = false;
  bool initializes = false;
  std::uint64_t ever = 0;

  bool takes_tasks() const { return taking; }
  bool is_ready() const { return ready; }
  bool is_killed() const { return killed; }
  bool is_initializing() const { return initializes; }
  bool is_active() const { return taking || (!killed && tasks != 0); }
  bool idle() const { return tasks == 0; }
  bool hangs() const { return hanging; }
  bool is_slow() const { return slow; }
  bool is_full() const { return full; }
  std::size_t outstanding() const { return tasks; }
  std::uint64_t given() const { return ever; }
  bool holds_up_tasks() const { return (!ready || hanging) && tasks > (initializes ? 1U : 0U); }
};

class Views {
 public:
  Views(std::initializer_list<View> views) : views_(views) {
    for (const View& view : views_) pointers_.push_back(&view);
  }
  const std::vector<const View*>& all() const { return pointers_; }

 private:
  std::vector<View> views_;
  std::vector<const View*> pointers_;
};

const View busy{.tasks = 1};
const View idle{};
const View starting{.ready = false};
const View retiring{.tasks = 1, .taking = false};
const View killed{.taking = false, .killed = true};

/// Index of the worker chosen, -1 for none.
int chosen(const Views& views, Limits limits, std::size_t preferred = 0) {
  const auto choice = scheduler::choose_worker(views.all(), preferred, limits);
  return choice ? static_cast<int>(choice->index) : -1;
}

TEST(Scheduler, how_many_tasks_a_worker_gets_ahead) {
  struct Row {
    double mean_ns;
    std::size_t waiting, workers, depth;
  };
  for (const Row& row : {
           Row{0, 1000, 1, 1},              // nothing is known: one
           Row{1'000'000, 100, 1, 2},      // 2 ms of work, while there is more than that
           Row{3'000'000, 100, 1, 1},    // long ones: never one behind another
           Row{30'000, 0, 1, 1},            // two do not fit what a worker is given at once
           Row{25'000, 0, 1, 2},            // two just do
           Row{1'000, 0, 4, 50},            // 50 us of work
           Row{100, 0, 1, 63},              // no more than there are slots
           Row{100, 1'000'000, 1, 63},      // nor where a million wait
           Row{10'000, 1'000, 4, 63},       // a tenth of all that waits is more than 50 us
           Row{200'000, 100'000, 1, 10},    // and never more than 2 ms
           Row{10'000, 100, 4, 10},         // half a share each
       })
    EXPECT_EQ(scheduler::depth({row.mean_ns, row.waiting, row.workers}, 63), row.depth)
        << row.mean_ns << " ns, " << row.waiting << " waiting, " << row.workers << " workers";
}

TEST(Scheduler, how_many_workers_are_worth_waking) {
  EXPECT_EQ(scheduler::most_awake({0, 10, 8}), 8u);    // unknown: all
  EXPECT_EQ(scheduler::most_awake({100, 10, 8}), 1u);  // one is as fast as this process can give
  EXPECT_EQ(scheduler::most_awake({900, 10, 8}), 3u);
}

TEST(Scheduler, which_worker_gets_the_next_task) {
  const Limits one{.depth = 1, .most_awake = 8, .max_workers = 3};
  const Limits many{.depth = 8, .most_awake = 8, .max_workers = 3};
  EXPECT_EQ(chosen({}, one), -1);
  EXPECT_EQ(chosen({idle, idle}, one), 0);
  EXPECT_EQ(chosen({idle, idle}, one, 1), 1) << "the one that had the last task";
  EXPECT_EQ(chosen({busy, idle}, one), 1);
  EXPECT_EQ(chosen({busy, idle}, many), 0) << "it is awake, and has room";
  EXPECT_EQ(chosen({idle, busy}, many, 1), 1);
  EXPECT_EQ(chosen({starting, idle}, one), 1) << "one that starts may yet hang";
  EXPECT_EQ(chosen({starting, busy}, one), 0);
  EXPECT_EQ(chosen({retiring, killed}, many), -1);
  EXPECT_EQ(chosen({{.tasks = 1, .slow = true}, idle}, many), 1) << "behind a long task nothing is put";
  EXPECT_EQ(chosen({{.tasks = 1, .full = true}, idle}, many), 1);
  EXPECT_EQ(chosen({{.hanging = true}, starting}, many), 1);
  EXPECT_EQ(chosen({{.ever = 7}}, {.depth = 1, .most_awake = 8, .max_workers = 1, .tasks_per_worker = 7}), -1);
}

TEST(Scheduler, no_more_are_woken_than_can_be_kept_busy) {
  EXPECT_EQ(chosen({{.tasks = 8}, idle}, {.depth = 8, .most_awake = 1, .max_workers = 2}), -1);
  EXPECT_EQ(chosen({{.tasks = 8}, idle}, {.depth = 8, .most_awake = 2, .max_workers = 2}), 1);
}

TEST(Scheduler, one_long_task_ahead_once_no_further_worker_is_to_be_had) {
  EXPECT_EQ(chosen({busy, busy}, {.depth = 1, .most_awake = 8, .max_workers = 3}), -1);
  EXPECT_EQ(chosen({busy, busy}, {.depth = 1, .most_awake = 8, .max_workers = 2}), 0);
  EXPECT_EQ(chosen({{.tasks = 2}, busy}, {.depth = 1, .most_awake = 8, .max_workers = 2}), 1);
  EXPECT_EQ(chosen({{.tasks = 2}, {.tasks = 2}}, {.depth = 1, .most_awake = 8, .max_workers = 2}), -1);
  EXPECT_EQ(chosen({{.tasks = 1, .slow = true}, busy}, {.depth = 2, .most_awake = 8, .max_workers = 2}), 1);
}

TEST(Scheduler, when_a_further_worker_is_needed) {
  struct Row {
    Views workers;
    std::size_t waiting, max_workers;
    bool eager, needed;
  };
  for (const Row& row : {
           Row{{}, 0, 1, false, false},
           Row{{}, 0, 1, true, true},
           Row{{}, 1, 1, false, true},
           Row{{busy}, 1, 1, false, false},               // there are all
           Row{{busy}, 1, 2, false, true},
           Row{{busy, starting}, 1, 3, false, false},     // that one is for it
           Row{{busy, starting}, 2, 3, false, true},
           Row{{busy, {.initializes = true}}, 1, 3, false, false},
           Row{{{.ready = false, .hanging = true}}, 1, 2, false, true},  // not for long, it seems
           Row{{retiring}, 1, 1, false, false},           // it has something to do
           Row{{{.taking = false}}, 1, 1, false, true},   // as good as gone
           Row{{killed}, 1, 1, false, true},
       })
    EXPECT_EQ(scheduler::needs_worker(row.workers.all(), row.waiting, row.max_workers, row.eager), row.needed)
        << row.workers.all().size() << " workers, " << row.waiting << " waiting, at most " << row.max_workers;
}

TEST(Scheduler, when_what_was_given_is_given_anew) {
  struct Row {
    Views workers;
    bool may_start, imbalanced;
  };
  const View two{.tasks = 2};
  for (const Row& row : {
           Row{{two, two}, false, false},      // nobody is free
           Row{{two, idle}, false, true},
           Row{{two}, true, true},
           Row{{busy, idle}, true, false},     // nothing waits
           Row{{starting, two}, false, true},  // one that starts with nothing to do will be free
           Row{{{.ready = false, .tasks = 1}, idle}, false, true},
           Row{{{.ready = false, .tasks = 1}}, true, false},  // another start would be no quicker
           Row{{{.tasks = 1, .hanging = true}}, true, true},
           Row{{{.tasks = 2, .taking = false, .killed = true}, idle}, false, false},
       })
    EXPECT_EQ(scheduler::is_imbalanced(row.workers.all(), row.may_start), row.imbalanced)
        << row.workers.all().size() << " workers, may start " << row.may_start;
}

}  // namespace
