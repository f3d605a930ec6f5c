// C1: every way to fail, at every place where a task can fail. Only a death costs a worker, and only the task it ran.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <exception>
#include <future>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum class Way {
  throw_std,
  throw_int,
  exit_0,
  exit_42,
  plain_exit,
  quick_exit,
  abort,
  terminate,
  noexcept_violation,
  sigsegv,
  sigbus,
  sigfpe,
  sigill,
  sigkill,
  sigterm,
  stack_overflow,
  pure_virtual
};
constexpr std::array ways{Way::throw_std,      Way::throw_int,   Way::exit_0,
                          Way::exit_42,        Way::plain_exit,  Way::quick_exit,
                          Way::abort,          Way::terminate,   Way::noexcept_violation,
                          Way::sigsegv,        Way::sigbus,      Way::sigfpe,
                          Way::sigill,         Way::sigkill,     Way::sigterm,
                          Way::stack_overflow, Way::pure_virtual};
constexpr const char* way_names[] = {
    "throw_std", "throw_int",          "exit_0",      "exit_42", "_exit",  "quick_exit", "abort",
    "terminate", "noexcept_violation", "SIGSEGV",     "SIGBUS",  "SIGFPE", "SIGILL",     "SIGKILL",
    "SIGTERM",   "stack_overflow",     "pure_virtual"};

enum class Place { pack_argument, unpack_argument, call, pack_result, unpack_result, destroy_argument, nowhere };
constexpr const char* place_names[] = {"pack_argument", "unpack_argument",  "call",   "pack_result",
                                       "unpack_result", "destroy_argument", "nowhere"};

constexpr bool throws(Way way) { return way == Way::throw_std || way == Way::throw_int; }

struct Abstract {
  Abstract() { call(); }
  virtual ~Abstract() = default;
  void call() { act(); }  // from the constructor: there is no act yet
  virtual void act() = 0;
};
struct Concrete : Abstract {
  void act() override {}
};

[[gnu::noinline]] int use_stack(int depth) {
  volatile char room[4096];
  room[0] = static_cast<char>(depth);
  return depth == -1 ? 0 : use_stack(depth + 1) + room[0];
}

void violate_noexcept() noexcept {
  const auto thrower = [] { throw std::runtime_error("through noexcept"); };
  thrower();
}

void fail(Way way) {
  switch (way) {
    case Way::throw_std: throw std::out_of_range("thrown on purpose");
    case Way::throw_int: throw 42;
    case Way::exit_0: std::exit(0);
    case Way::exit_42: std::exit(42);
    case Way::plain_exit: ::_exit(3);
    case Way::quick_exit: std::quick_exit(4);
    case Way::abort: std::abort();
    case Way::terminate: std::terminate();
    case Way::noexcept_violation: violate_noexcept(); break;
    case Way::sigsegv: ::raise(SIGSEGV); break;
    case Way::sigbus: ::raise(SIGBUS); break;
    case Way::sigfpe: ::raise(SIGFPE); break;
    case Way::sigill: ::raise(SIGILL); break;
    case Way::sigkill: kill_self(SIGKILL);
    case Way::sigterm: ::raise(SIGTERM); break;
    case Way::stack_overflow: use_stack(0); break;
    case Way::pure_virtual: Concrete(); break;
  }
  ::_exit(99);  // it should not have survived
}

/// A value that fails where it is told to.
struct Grenade {
  Way way = Way::throw_std;
  Place place = Place::nowhere;
  bool armed = false;  // unpacked in the worker, so that its destruction there counts

  Grenade() = default;
  Grenade(Way w, Place p) : way(w), place(p) {}
  Grenade(Grenade&& other) noexcept : way(other.way), place(other.place), armed(std::exchange(other.armed, false)) {}
  Grenade(const Grenade& other) : way(other.way), place(other.place) {}
  Grenade& operator=(const Grenade&) = delete;
  ~Grenade() {
    if (armed && place == Place::destroy_argument) fail(way);
  }
};

}  // namespace

template <>
struct yoke::Codec<Grenade> {
  static void pack(Packer& packer, const Grenade& grenade) {
    const bool in_worker = yoke::this_worker::is_worker();
    if (grenade.place == (in_worker ? Place::pack_result : Place::pack_argument)) fail(grenade.way);
    pack_value(packer, std::pair(grenade.way, grenade.place));
  }
  static Grenade unpack(const Object& object) {
    const auto [way, place] = unpack_value<std::pair<Way, Place>>(object);
    const bool in_worker = yoke::this_worker::is_worker();
    if (place == (in_worker ? Place::unpack_argument : Place::unpack_result)) fail(way);
    Grenade grenade(way, place);
    grenade.armed = in_worker;
    return grenade;
  }
};

namespace {

Grenade pass(const Grenade& grenade) {
  if (grenade.place == Place::call) fail(grenade.way);
  return {grenade.way, grenade.place};
}

struct Cell {
  Place place;
  Way way;
};
void PrintTo(const Cell& cell, std::ostream* out) {
  *out << place_names[static_cast<int>(cell.place)] << " x " << way_names[static_cast<int>(cell.way)];
}
std::string cell_name(const testing::TestParamInfo<Cell>& cell) {
  return std::string(place_names[static_cast<int>(cell.param.place)]) + "_" +
         way_names[static_cast<int>(cell.param.way)];
}

void check_status(Way way, const yoke::WorkerDeath& death) {
  const auto signal = [](Way w) {
    switch (w) {
      case Way::abort:
      case Way::terminate:
      case Way::noexcept_violation:
      case Way::pure_virtual: return SIGABRT;
      case Way::sigsegv:
      case Way::stack_overflow: return SIGSEGV;
      case Way::sigbus: return SIGBUS;
      case Way::sigfpe: return SIGFPE;
      case Way::sigill: return SIGILL;
      case Way::sigkill: return SIGKILL;
      case Way::sigterm: return SIGTERM;
      default: return 0;
    }
  };
  const auto code = [](Way w) {
    switch (w) {
      case Way::exit_42: return 42;
      case Way::plain_exit: return 3;
      case Way::quick_exit: return 4;
      default: return 0;
    }
  };
  if (sanitized && signal(way) != 0 && death.signal == 0) return;  // a sanitizer makes an exit of it
  EXPECT_EQ(death.signal, signal(way));
  EXPECT_EQ(death.exit_code, code(way));
}

bool in_parent(Place place) { return place == Place::pack_argument || place == Place::unpack_result; }

class CrashMatrix : public PoolTest, public testing::WithParamInterface<Cell> {
 protected:
  void SetUp() override {
    PoolTest::SetUp();
    may_write_stderr();  // std::terminate and sanitizers speak
  }

  void expect_serialization_error(const std::function<void()>& call) {
    const auto error = thrown_by<yoke::SerializationError>(call);
    ASSERT_TRUE(error);
    const std::string text = GetParam().way == Way::throw_std ? "thrown on purpose" : "42";
    EXPECT_NE(std::string(error->what()).find(text), std::string::npos) << error->what();
  }

  void run_cell(yoke::Executor& executor) {
    const Place place = GetParam().place;
    const Way way = GetParam().way;
    if (place == Place::pack_argument)
      return expect_serialization_error([&] { executor.submit(pass, Grenade(way, place)); });
    const auto future = executor.submit(pass, Grenade(way, place));
    soon(future).wait();
    if (place == Place::destroy_argument) {
      EXPECT_EQ(future.result().way, way);  // C10: the result was published before
    } else if (!throws(way)) {
      check_status(way, death_of(future));
    } else if (place != Place::call) {
      expect_serialization_error([&] { future.result(); });
    } else if (way == Way::throw_std) {
      EXPECT_THROW(future.result(), std::out_of_range);
    } else {
      EXPECT_THROW(future.result(), yoke::RemoteError);
    }
  }

  /// The pool serves, with as many workers as before, and has counted what died.
  void check_pool() {
    const auto [place, way] = GetParam();
    const std::uint64_t deaths = throws(way) ? 0 : 1;
    wait_until([&] { return pool->stats().deaths == deaths; }, "the death to be counted");
    prime(*pool, size, board);
    EXPECT_EQ(pool->stats().deaths, deaths);
    EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
  }
};

TEST_P(CrashMatrix, C1_costs_one_task) {
  // others run elsewhere meanwhile, and wait
  enum : unsigned { entered, gate };
  std::vector<yoke::Future<int>> others;
  for (int i = 0; i < 3; ++i) others.push_back(pool->submit(pass_gate, board, entered, gate));
  board.wait_for(entered, 3);
  run_cell(*pool);
  std::vector<yoke::Future<int>> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(pool->submit(add_one, i));
  board.add(gate);
  for (const auto& other : others) {
    soon(other).wait();
    EXPECT_EQ(other.result(), other.worker_pid());
  }
  for (int i = 0; i < 20; ++i) EXPECT_EQ(soon(waiting[static_cast<std::size_t>(i)]).get(), i + 1);
  check_pool();
}

TEST_P(CrashMatrix, C1_submitted_from_a_callback) {
  std::promise<void> done;
  pool->submit(add_one, 1).add_done_callback([&](const auto&) {
    run_cell(*pool);
    done.set_value();
  });
  auto told = done.get_future();
  soon(told).get();
  check_pool();
}

std::vector<Cell> all_cells() {
  std::vector<Cell> cells;
  for (const Place place : {Place::pack_argument, Place::unpack_argument, Place::call, Place::pack_result,
                            Place::unpack_result, Place::destroy_argument})
    for (const Way way : ways) {
      if (in_parent(place) && !throws(way)) continue;                       // nobody survives that
      if (place == Place::destroy_argument && throws(way)) continue;  // would be a noexcept violation
      cells.push_back({place, way});
    }
  return cells;
}
INSTANTIATE_TEST_SUITE_P(Cells, CrashMatrix, testing::ValuesIn(all_cells()), cell_name);

class InitializerMatrix : public HouseTest, public testing::WithParamInterface<Cell> {};

TEST_P(InitializerMatrix, C1_C12_breaks_the_pool_with_the_text) {
  may_write_stderr();
  const Way way = GetParam().way;
  yoke::ProcessPoolExecutor pool({.max_workers = 2, .initializer = yoke::initializer(fail, way)});
  std::vector<yoke::Future<int>> futures;
  try {
    for (int i = 0; i < 10; ++i) futures.push_back(pool.submit(add_one, i));
  } catch (const yoke::BrokenProcessPool&) {  // it was quick
  }
  std::promise<void> refused;
  futures.front().add_done_callback([&](const auto&) {
    EXPECT_THROW(pool.submit(add_one, 1), yoke::BrokenProcessPool);
    refused.set_value();
  });
  for (const auto& future : futures) {
    const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(future).result(); });
    ASSERT_TRUE(error);
    const std::string text = error->what();
    EXPECT_NE(text.find("initializer"), std::string::npos) << text;
    const char* cause = way == Way::throw_std ? "thrown on purpose" : way == Way::throw_int ? "42" : ") died: ";
    EXPECT_NE(text.find(cause), std::string::npos) << text;
  }
  auto told = refused.get_future();
  soon(told).get();
  EXPECT_THROW(pool.submit(add_one, 1), yoke::BrokenProcessPool);
  shut_down_in_time(pool);
}

/// Fails once the gate opens, when the worker has nothing to do.
int fail_later(const Board& board, Way way) {
  std::thread([board, way] {
    board.wait_for(0);
    fail(way);
  }).detach();
  return ::getpid();
}

class IdleMatrix : public PoolTest, public testing::WithParamInterface<Cell> {
 protected:
  /// `pid`: of the worker that the task has prepared.
  void run_cell(int pid) {
    may_write_stderr();
    board.add(0);
    wait_until([&] { return pool->stats().deaths == 1; }, "the death to be counted");
    prime(*pool, size, board);
    for (const auto& worker : pool->stats().workers) EXPECT_NE(worker.pid, pid);
    EXPECT_EQ(pool->stats().deaths, 1U);
  }
};

TEST_P(IdleMatrix, C1_an_idle_worker_is_replaced) {
  run_cell(soon(pool->submit(fail_later, board, GetParam().way)).get());
}

TEST_P(IdleMatrix, C1_submitted_from_a_callback) {
  std::promise<int> prepared;
  pool->submit(add_one, 1).add_done_callback([&](const auto&) {
    prepared.set_value(soon(pool->submit(fail_later, board, GetParam().way)).get());
  });
  auto told = prepared.get_future();
  run_cell(soon(told).get());
}

std::vector<Cell> ways_at(Place place) {
  std::vector<Cell> cells;
  for (const Way way : ways) cells.push_back({place, way});
  return cells;
}
std::string way_name(const testing::TestParamInfo<Cell>& cell) { return way_names[static_cast<int>(cell.param.way)]; }
INSTANTIATE_TEST_SUITE_P(Ways, InitializerMatrix, testing::ValuesIn(ways_at(Place::call)), way_name);
INSTANTIATE_TEST_SUITE_P(Ways, IdleMatrix, testing::ValuesIn(ways_at(Place::nowhere)), way_name);

}  // namespace
