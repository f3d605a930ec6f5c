// Load: one thread's share of the chaos: it submits, maps, cancels, resizes, waits, and judges every future.
//
// One object for each thread; they share the pool, the boards and the ledger. A future is right if it has the value
// that its task had to return, or ended in one of the ways that were asked for; and if the number of times that the
// task ran agrees with that.
#pragma once

#include <atomic>
#include <random>
#include <vector>

#include "tests/chaos/ledger.hpp"
#include "tests/chaos/tasks.hpp"
#include "yoke/yoke.hpp"

namespace yoke_test::chaos {

/// What the threads of one round share.
struct Round {
  yoke::Executor pool;
  int workers = 0;
  Board runs;   // how often each task ran, counted by the tasks
  Board calls;  // how often each task's callback was called
  std::atomic<std::uint32_t>& next_word;
  Ledger& ledger;
  std::atomic<bool> stop{false};
};

class Load {
 public:
  Load(Round& round, std::uint64_t seed) : round_(round), random_(seed) {}
  /// Until the round stops; everything that was sent is settled then.
  void run();

 private:
  /// A task's fate may be this, besides its own value or exception and the death of its worker.
  struct Expected {
    bool cancellable = false;
    bool killable = false;  // cancelled while it ran
    bool out_of_time = false;
    bool ends_itself = false;
    int retries = 0;
  };
  template <class T>
  struct Sent {
    yoke::Future<T> future;
    std::uint32_t word;
    std::uint32_t runs_before;
    Expected expected;
    bool called = false;  // it has a callback
    std::uint32_t calls_before = 0;
  };

  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  yoke::TaskOptions some_options();
  std::string_view some_content(std::uint32_t length);

  template <class T, class... Parameters, class... Arguments>
  Sent<T> send(const yoke::TaskOptions& options, Expected expected, T (*task)(const Ticket&, Parameters...),
               const Arguments&... arguments);
  template <class T>
  void call_back(Sent<T>& sent);
  /// Waits for the future and judges it; `right` says whether a value is the one that its task had to return.
  template <class T, class Right>
  void settle(const Sent<T>& sent, Right right);
  void check_runs(std::uint32_t word, std::uint32_t before, std::uint32_t least, std::uint32_t most, const char* of);
  void check_death(std::uint32_t word, const yoke::TerminatedWorkerError& error, const Expected& expected);

  void echo_many(std::uint32_t most, std::uint32_t shortest, std::uint32_t longest);
  void cancel_some();
  void run_out_of_time();
  void throw_some();
  void end_workers();
  void map_some();
  void complete_some();
  void drop_some();
  void chain_callbacks();
  void leave_children_behind();
  void nest();
  void resize();

  Round& round_;
  std::mt19937_64 random_;
};

}  // namespace yoke_test::chaos
