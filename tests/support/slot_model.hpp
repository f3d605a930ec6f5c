// The slot protocol in every interleaving: a model of one parent, two workers and a watchdog, small enough to be
// explored exhaustively. What a side decides from a word, it decides by the functions of slot.hpp and doorbell.hpp that
// the library itself runs; the order of the steps around them is written down here once more.
//
// One step is one access to a word that both sides see. Before and after each step a worker may die, and its death may
// be seen at any time afterwards; then it is buried and another takes its place. The parent may take any task back at
// any time. Steps are seen in one order by all: the model says nothing about the fences.
#pragma once

#include <string>
#include <unordered_map>

#include "lib/channel/doorbell.hpp"
#include "lib/channel/slot.hpp"
#include "tests/support/slot_state.hpp"

namespace yoke_test::slot_model {

/// A rule that is broken on purpose, to see that the model finds it.
enum class Flaw {
  none,
  start_without_looking,  // a plain store where a compare-and-swap belongs
  take_back_without_looking,  // the same, by the parent
  word_without_position,  // a slot's next lap looks like this one
  sequence_before_result,  // told before it is written
  sleep_without_looking_again,  // between arming the bell and sleeping
  bury_without_collecting,  // what a dead worker published is not looked at
  bury_the_living,  // a notice of death is believed without proof
  hand_on_what_was_started,  // tried again although nobody asked for it
  fail_what_was_not_started,  // all that a dead worker had is lost
  fill_slots_in_use,  // before the result of the last lap was collected
};

struct Limits {
  unsigned tasks = most_tasks;
  unsigned deaths = 1;  // of workers
  unsigned take_backs = 1;  // by the parent
  unsigned retries = 0;  // of a task that was lost with its worker
  Flaw flaw = Flaw::none;
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
    const auto step = [&](const State& next) {
      any = true;
      if (violation_.empty()) visit(normal_form(next));
    };
    for (unsigned w = 0; w < workers; ++w) {
      step_worker(state, w, step);
      step_watchdog(state, w, step);
    }
    step_parent(state, step);
    if (!any) check_end(state);
    mark = Visit::closed;
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

  // The watchdog: LocalPool::on_worker_exit.

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

}  // namespace yoke_test::slot_model
