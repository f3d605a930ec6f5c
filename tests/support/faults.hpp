// Faults: what a test orders to happen to workers at which fault points of the library, exactly once each.
//
// The orders lie on a Board, which workers find by a variable of their environment. A worker's point acts on the worker
// itself; a parent's point ends or stops the worker that the parent is about, and goes on when that has happened. Who
// was stopped is killed by a thread of the test as soon as it is seen to be stopped. One Faults at a time, for pools
// whose options have its env().
#pragma once

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "lib/system/fault_point.hpp"
#include "tests/support/board.hpp"

namespace yoke_test {

using yoke::system::FaultPoint;

enum class Act : std::uint32_t {
  kill,  // SIGKILL
  hang_up,  // SIGHUP, as from outside
  crash,  // a bad access; SIGSEGV where the parent is at the point
  stop,  // SIGSTOP, then SIGKILL as soon as it is seen to be stopped
  freeze,  // SIGSTOP, then SIGKILL when the test calls end_frozen()
  scribble  // over the fields of the result slot
};

/// What is written over a result slot.
enum class Scribble : std::uint32_t {
  longer,
  shorter,
  endless,
  other_place,
  no_place,
  other_where,
  far_where,
  other_kind,
  other_length_and_where,
  content,  // where it lies in the slot
  ones,
  count
};

struct Order {
  FaultPoint point{};
  Act act = Act::kill;
  std::uint32_t nth = 1;  // passing of the point, from 1
  std::uint32_t incarnation = 0;  // by the worker that was started as such, from 1; 0: passings of all workers count
  Scribble scribble{};
};

class Faults {
 public:
  static constexpr unsigned most_orders = 4;

  explicit Faults(const std::vector<Order>& orders);
  ~Faults();
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  /// For the options of the pool.
  std::map<std::string, std::string> env() const;
  const Board& board() const { return board_; }  // its first half is the test's own
  bool fired(unsigned order) const;
  int victim(unsigned order) const;  // pid; 0: not fired
  bool victim_was_ready(unsigned order) const;  // its start was over when it was hit; may say no for a moment after it
  bool is_victim(int pid) const;
  void end_frozen() const;
  bool all_fired() const;
  unsigned orders() const { return orders_; }
  std::uint32_t passes(FaultPoint point) const;  // so far, in all processes

 private:
  void kill_stopped();

  const unsigned orders_;
  Board board_;
  std::thread killer_;
};

const char* to_string(FaultPoint point);
const char* to_string(Act act);

}  // namespace yoke_test
