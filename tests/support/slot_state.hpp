// The states of the slot protocol's model (slot_model.hpp): everything that two workers, their segments and the parent
// know.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <utility>

#include "lib/channel/slot.hpp"

namespace yoke_test::slot_model {

using namespace yoke::channel;

inline constexpr unsigned slots = 2;
inline constexpr unsigned workers = 2;
inline constexpr unsigned most_tasks = 4;

using Byte = std::uint8_t;
inline constexpr Byte nothing = 0;  // in place of a task's number

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
  Byte to_ring = 0;  // worker + 1 that was given tasks and not yet rung
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

/// What nobody will look at again is made the same in all states, so that there are fewer of them.
inline void forget(Worker& worker, State& state) {
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
inline void order_workers(State& state) {
  static_assert(workers == 2);
  if (std::memcmp(&state.worker[0], &state.worker[1], sizeof(Worker)) <= 0) return;
  std::swap(state.worker[0], state.worker[1]);
  if (state.to_ring) state.to_ring = static_cast<Byte>(workers + 1 - state.to_ring);
}

/// Tasks are numbered in the order in which they lie: all start alike.
inline void rename_tasks(State& state) {
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

/// The one that stands for all states that differ in nothing that matters.
inline State normal_form(State state) {
  for (Worker& worker : state.worker) forget(worker, state);
  order_workers(state);
  rename_tasks(state);
  return state;
}

}  // namespace yoke_test::slot_model
