// The slot protocol in every interleaving: a model of one parent, two workers and a watchdog, small enough to be
// explored exhaustively. What a side decides from a word, it decides by the functions of slot.hpp and doorbell.hpp that the
// library itself runs; the order of the steps around them is written down here once more.
//
// One step is one access to a word that both sides see. Before and after each step a worker may die, and its death may be
// seen at any time afterwards; then it is buried and another takes its place. The parent may take any task back at any
// time. Steps are seen in one order by all: the model says nothing about the fences.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "lib/channel/doorbell.hpp"
#include "lib/channel/slot.hpp"

namespace {

using namespace yoke::channel;

constexpr unsigned slots = 2;
constexpr unsigned workers = 2;
constexpr unsigned most_tasks = 4;

/// A rule that is broken on purpose, to see that the model finds it.
enum class Flaw {
  none,
  start_without_looking,        // a plain store where a compare-and-swap belongs
  take_back_without_looking,    // the same, by the parent
  word_without_position,        // a slot's next lap looks like this one
  sequence_before_result,       // told before it is written
  sleep_without_looking_again,  // between arming the bell and sleeping
  bury_without_collecting,      // what a dead worker published is not looked at
  bury_the_living,              // a notice of death is believed without proof
  hand_on_what_was_started,     // tried again although nobody asked for it
  fail_what_was_not_started,    // all that a dead worker had is lost
  fill_slots_in_use,            // before the result of the last lap was collected
};

struct Limits {
  unsigned tasks = most_tasks;
  unsigned deaths = 1;      // of workers
  unsigned take_backs = 1;  // by the parent
  unsigned retries = 0;     // of a task that was lost with its worker
  Flaw flaw = Flaw::none;
};

using Byte = std::uint8_t;
constexpr Byte nothing = 0;  // in place of a task's number

enum class At : Byte { look, start, run, publish, arm, look_again, asleep };

/// One worker, its segment, and the parent's books about both. Tasks are numbered from one.
struct Worker {
  // the segment
  std::array<Byte, slots> state{};
  std::array<Byte, slots> task{};  // what a slot holds
  std::array<Byte, slots> sequence{};
  std::array<Byte, slots> result{};  // of which task a result slot holds the result
  Byte armed = 0, rung = 0;
  // the worker's own
  At at = At::look;
  Byte position = 0;
  Byte running = nothing;
  Byte bell = 0;
  Byte dead = 0;
  // the parent's own
  std::array<Byte, slots> given{};
  Byte head = 0, tail = 0;
  Byte last_rung = 0;
};

enum class Fate : Byte { waits, given, has_result, lost };

struct Task {
  Fate fate = Fate::waits;
  Byte starts = 0;  // how often a worker began it
  Byte losses = 0;  // how often the parent took it for lost with its worker
};

struct State {
  std::array<Worker, workers> worker{};
  std::array<Task, most_tasks + 1> task{};
  Byte to_ring = 0;    // worker + 1 that was given tasks and not yet rung
  Byte will_ring = 0;  // the number of its bell, once that was read
  Byte deaths = 0, take_backs = 0;
};
static_assert(sizeof(State) == workers * sizeof(Worker) + (most_tasks + 1) * sizeof(Task) + 4,
              "no padding: states are compared as bytes");

struct Hash {
  std::size_t operator()(const State& state) const {
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(&state), sizeof state});
  }
};
struct Same {
  bool operator()(const State& a, const State& b) const { return std::memcmp(&a, &b, sizeof a) == 0; }
};

class Model {
 public:
  explicit Model(const Limits& limits) : limits_(limits) {}

  /// Explores everything; returns the first violation, empty if there is none.
  std::string explore() {
    State first{};
    for (unsigned t = limits_.tasks + 1; t <= most_tasks; ++t) first.task[t].fate = Fate::has_result;
    visit(first);
    return violation_;
  }
  std::size_t states() const { return seen_.size(); }
  std::size_t ends() const { return ends_; }

 private:
  enum class Visit : Byte { open, closed };

  void visit(const State& state) {
    const auto [entry, fresh] = seen_.emplace(state, Visit::open);
    if (!fresh) {
      if (entry->second == Visit::open) found("it goes round in circles");
      return;
    }
    Visit& mark = entry->second;  // stays where it is: an unordered_map moves no elements
    bool any = false;
    const auto step = [&](State next) {
      any = true;
      for (Worker& worker : next.worker) forget(worker, next);
      order_workers(next);
      rename_tasks(next);
      if (violation_.empty()) visit(next);
    };
    for (unsigned w = 0; w < workers; ++w) {
      step_worker(state, w, step);
      step_watchdog(state, w, step);
    }
    step_parent(state, step);
    if (!any) check_end(state);
    mark = Visit::closed;
  }

  /// What nobody will look at again is made the same in all states, so that there are fewer of them.
  static void forget(Worker& worker, State& state) {
    for (unsigned slot = 0; slot < slots; ++slot) {
      const std::uint64_t position = position_of(worker.state[slot]);
      if (position < worker.tail && position < worker.position) worker.state[slot] = 0;
      if (worker.sequence[slot] != 0 && worker.sequence[slot] <= worker.tail) worker.sequence[slot] = 0;
      if (worker.given[slot] == nothing) worker.task[slot] = worker.result[slot] = nothing;
    }
    if (worker.dead) {
      worker.at = At::look;
      worker.position = worker.armed = worker.bell = worker.rung = worker.last_rung = 0;
    }
    // Of the bell's numbers only matters which are the latest.
    const auto rename = [latest = worker.bell](Byte& number) { number = number == 0 ? 0 : number == latest ? 2 : 1; };
    if (state.to_ring && &worker == &state.worker[state.to_ring - 1U]) rename(state.will_ring);
    for (Byte* number : {&worker.armed, &worker.rung, &worker.last_rung, &worker.bell}) rename(*number);
  }

  /// Which of the workers is the first does not matter.
  static void order_workers(State& state) {
    static_assert(workers == 2);
    if (std::memcmp(&state.worker[0], &state.worker[1], sizeof(Worker)) <= 0) return;
    std::swap(state.worker[0], state.worker[1]);
    if (state.to_ring) state.to_ring = static_cast<Byte>(workers + 1 - state.to_ring);
  }

  /// Tasks are numbered in the order in which they lie: all start alike.
  void rename_tasks(State& state) const {
    std::array<Byte, most_tasks + 1> name{};
    std::array<Task, most_tasks + 1> task{};
    Byte last = 0;
    const auto meet = [&](Byte number) {
      if (number == nothing || name[number] != 0) return;
      name[number] = ++last;
      task[last] = state.task[number];
    };
    for (const Worker& worker : state.worker) {
      for (const Byte number : worker.given) meet(number);
      meet(worker.running);
    }
    for (const Fate fate : {Fate::waits, Fate::given, Fate::has_result, Fate::lost})
      for (Byte number = 1; number <= most_tasks; ++number)
        if (state.task[number].fate == fate) meet(number);
    state.task = task;
    for (Worker& worker : state.worker) {
      for (auto* numbers : {&worker.task, &worker.result, &worker.given})
        for (Byte& number : *numbers) number = name[number];
      worker.running = name[worker.running];
    }
  }

  void found(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  /// Nothing can happen any more.
  void check_end(const State& state) {
    ++ends_;
    for (unsigned t = 1; t <= limits_.tasks; ++t)
      if (state.task[t].fate != Fate::has_result && state.task[t].fate != Fate::lost) found("a task waits for ever");
  }

  std::uint64_t in_word(std::uint64_t position) const {
    return limits_.flaw == Flaw::word_without_position ? 0 : position;
  }
  static bool change(Byte& word, const SlotChange& change, bool looks) {
    if (looks && word != change.from) return false;
    word = static_cast<Byte>(change.to);
    return true;
  }

  // The worker: WorkerChannel::next, wait and publish.

  template <class Step>
  void step_worker(const State& state, unsigned w, const Step& step) {
    const Worker& now = state.worker[w];
    if (now.dead) return;
    if (state.deaths < limits_.deaths) {
      State next = state;
      next.worker[w].dead = 1;
      ++next.deaths;
      step(next);
    }
    if (now.at == At::asleep && now.rung != now.bell) return;
    State next = state;
    advance_worker(next, next.worker[w]);
    step(next);
  }

  void advance_worker(State& state, Worker& worker) {
    Byte& word = worker.state[worker.position % slots];
    const std::uint64_t position = in_word(worker.position);
    switch (worker.at) {
      case At::look:
        switch (next_step(word, position)) {
          case NextStep::pass: ++worker.position; break;
          case NextStep::start: worker.at = At::start; break;
          case NextStep::wait: worker.at = At::arm; break;
        }
        break;
      case At::start:
        if (change(word, start_of(position), limits_.flaw != Flaw::start_without_looking))
          begin(state, worker);
        else
          worker.at = At::look;
        break;
      case At::run:
        if (limits_.flaw == Flaw::sequence_before_result)
          worker.sequence[worker.position % slots] = static_cast<Byte>(published(worker.position));
        else
          worker.result[worker.position % slots] = worker.running;
        worker.at = At::publish;
        break;
      case At::publish:
        worker.sequence[worker.position % slots] = static_cast<Byte>(published(worker.position));
        worker.result[worker.position % slots] = worker.running;
        worker.running = nothing;
        ++worker.position;
        worker.at = At::look;
        break;
      case At::arm:
        worker.armed = ++worker.bell;
        worker.at = limits_.flaw == Flaw::sleep_without_looking_again ? At::asleep : At::look_again;
        break;
      case At::look_again: worker.at = next_step(word, position) == NextStep::wait ? At::asleep : At::look; break;
      case At::asleep: worker.at = At::look; break;
    }
  }

  void begin(State& state, Worker& worker) {
    const Byte number = worker.task[worker.position % slots];
    worker.running = number;
    worker.at = At::run;
    const bool held = number != nothing && worker.tail <= worker.position && worker.position < worker.head &&
                      worker.given[worker.position % slots] == number;
    if (!held) found("a task is run that was taken back");
    Task& task = state.task[number];
    if (++task.starts > task.losses + 1) found("a task is run twice");
  }

  // The parent: LocalPool::give, take_back_unstarted and ParentChannel. It holds its lock for each of these.

  template <class Step>
  void step_parent(const State& state, const Step& step) {
    if (state.to_ring) {
      State next = state;
      ring(next);
      step(next);
      if (state.will_ring) return;
    }
    for (unsigned w = 0; w < workers; ++w) {
      const Worker& worker = state.worker[w];
      if (state.to_ring == 0 || state.to_ring == w + 1) give(state, w, step);
      if (state.to_ring) continue;  // it rings before it does anything else
      if (has_result(worker)) {
        State next = state;
        collect(next, next.worker[w]);
        step(next);
      }
      if (state.take_backs == limits_.take_backs) continue;
      for (unsigned p = worker.tail; p < worker.head; ++p)
        if (worker.given[p % slots]) take_back(state, w, p, step);
    }
  }

  template <class Step>
  void give(const State& state, unsigned w, const Step& step) {
    const Worker& worker = state.worker[w];
    const unsigned in_use = limits_.flaw == Flaw::fill_slots_in_use ? 0 : worker.head - worker.tail;
    if (in_use == slots) return;
    for (unsigned t = 1; t <= limits_.tasks; ++t) {
      if (state.task[t].fate != Fate::waits) continue;
      State next = state;
      Worker& to = next.worker[w];
      const unsigned slot = to.head % slots;
      to.task[slot] = to.given[slot] = static_cast<Byte>(t);
      to.state[slot] = static_cast<Byte>(slot_word(in_word(to.head), SlotState::ready));
      ++to.head;
      next.task[t].fate = Fate::given;
      next.to_ring = static_cast<Byte>(w + 1);
      step(next);
      return;  // the first that waits
    }
  }

  static void ring(State& state) {
    Worker& worker = state.worker[state.to_ring - 1U];
    if (!state.will_ring && waits_for_ring(worker.armed, worker.last_rung)) {
      state.will_ring = worker.armed;
      return;
    }
    if (state.will_ring) worker.rung = worker.last_rung = state.will_ring;
    state.to_ring = state.will_ring = 0;
  }

  template <class Step>
  void take_back(const State& state, unsigned w, unsigned position, const Step& step) {
    State next = state;
    Worker& worker = next.worker[w];
    ++next.take_backs;
    const bool looks = limits_.flaw != Flaw::take_back_without_looking;
    if (!change(worker.state[position % slots], revocation_of(in_word(position)), looks)) return;
    next.task[worker.given[position % slots]].fate = Fate::waits;
    worker.given[position % slots] = nothing;
    pass_over(worker);
    step(next);
  }

  static bool has_result(const Worker& worker) {
    return worker.tail != worker.head && worker.sequence[worker.tail % slots] == published(worker.tail);
  }

  void collect(State& state, Worker& worker) {
    Byte& given = worker.given[worker.tail % slots];
    if (worker.result[worker.tail % slots] != given) found("a result is taken for another task's");
    Task& task = state.task[given];
    if (task.fate != Fate::given) found("a task is resolved twice");
    task = {Fate::has_result, 0, 0};
    given = nothing;
    pass_over(worker);
  }

  static void pass_over(Worker& worker) {
    while (worker.tail != worker.head && worker.given[worker.tail % slots] == nothing) ++worker.tail;
  }

  // The watchdog: LocalPool::bury.

  template <class Step>
  void step_watchdog(const State& state, unsigned w, const Step& step) {
    const bool believes = limits_.flaw == Flaw::bury_the_living && state.deaths < limits_.deaths;
    if (state.to_ring || (!state.worker[w].dead && !believes)) return;
    State next = state;
    if (!next.worker[w].dead) ++next.deaths;
    bury(next, next.worker[w]);
    step(next);
  }

  void bury(State& state, Worker& worker) {
    if (limits_.flaw != Flaw::bury_without_collecting)
      while (has_result(worker)) collect(state, worker);
    for (unsigned p = worker.tail; p != worker.head; ++p) {
      const Byte number = worker.given[p % slots];
      if (!number) continue;
      if (is_lost(worker, p))
        lose(state.task[number], worker);
      else if (worker.running == number && limits_.retries == 0)
        found("a task that was started is tried again");
      else
        state.task[number].fate = Fate::waits;
    }
    if (worker.dead) {
      worker = {};  // its replacement
    } else {
      worker.given = {};  // taken for dead, it goes on
      worker.tail = worker.head;
    }
  }

  bool is_lost(const Worker& worker, unsigned position) const {
    if (limits_.flaw == Flaw::fail_what_was_not_started) return true;
    if (limits_.flaw == Flaw::hand_on_what_was_started) return false;
    return lost_with_worker(worker.state[position % slots], in_word(position), worker.tail);
  }

  void lose(Task& task, const Worker& worker) {
    if (has_result(worker)) found("a task is lost whose result was published");
    if (task.fate != Fate::given) found("a task is resolved twice");
    if (task.starts != task.losses + 1) found("a task is lost that was not started");
    ++task.losses;
    task.fate = task.losses <= limits_.retries ? Fate::waits : Fate::lost;
  }

  const Limits limits_;
  std::unordered_map<State, Visit, Hash, Same> seen_;
  std::size_t ends_ = 0;
  std::string violation_;
};

/// Explores everything that can happen within the limits; says how much that was.
std::string violation(const Limits& limits) {
  Model model(limits);
  std::string found = model.explore();
  testing::Test::RecordProperty("states", std::to_string(model.states()));
  if (found.empty()) {
    std::printf("%zu states, %zu of them ends\n", model.states(), model.ends());
    EXPECT_GT(model.ends(), 0U);
  }
  return found;
}
std::string violation(Flaw flaw) { return violation(Limits{.tasks = 3, .flaw = flaw}); }

TEST(SlotModel, every_task_is_run_once_though_it_is_taken_back_at_any_time) {
  EXPECT_EQ(violation({.deaths = 0, .take_backs = 2}), "");
}

TEST(SlotModel, a_death_at_any_time_costs_at_most_the_task_that_was_started) {
  EXPECT_EQ(violation({.deaths = 1, .take_backs = 1}), "");
}

TEST(SlotModel, a_lost_task_is_tried_again_once) {
  EXPECT_EQ(violation({.tasks = 3, .deaths = 1, .take_backs = 1, .retries = 1}), "");
}

TEST(SlotModel, two_deaths_at_any_time) { EXPECT_EQ(violation({.tasks = 3, .deaths = 2, .take_backs = 1}), ""); }

// Each rule is needed: without it the model finds what goes wrong.

TEST(SlotModel, finds_what_comes_of_changing_a_state_without_looking) {
  EXPECT_EQ(violation(Flaw::start_without_looking), "a task is run that was taken back");
  EXPECT_EQ(violation(Flaw::take_back_without_looking), "a task is run twice");
}

TEST(SlotModel, finds_what_comes_of_words_without_a_position) { EXPECT_NE(violation(Flaw::word_without_position), ""); }

TEST(SlotModel, finds_what_comes_of_telling_a_result_before_it_is_there) {
  EXPECT_EQ(violation(Flaw::sequence_before_result), "a result is taken for another task's");
}

TEST(SlotModel, finds_what_comes_of_sleeping_without_a_second_look) {
  EXPECT_EQ(violation(Flaw::sleep_without_looking_again), "a task waits for ever");
}

TEST(SlotModel, finds_what_comes_of_not_collecting_from_the_dead) {
  EXPECT_EQ(violation(Flaw::bury_without_collecting), "a task is lost whose result was published");
}

TEST(SlotModel, finds_what_comes_of_burying_the_living) { EXPECT_NE(violation(Flaw::bury_the_living), ""); }

TEST(SlotModel, finds_what_comes_of_judging_the_dead_workers_tasks_wrongly) {
  EXPECT_EQ(violation(Flaw::hand_on_what_was_started), "a task that was started is tried again");
  EXPECT_EQ(violation(Flaw::fail_what_was_not_started), "a task is lost that was not started");
}

TEST(SlotModel, finds_what_comes_of_filling_a_slot_too_early) { EXPECT_NE(violation(Flaw::fill_slots_in_use), ""); }

}  // namespace
