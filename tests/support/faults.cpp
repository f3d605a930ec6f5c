// Words of the board: per point, how often it was passed; per order, what it is and what came of it; the pids of the
// workers in the order of their first point.
#include "tests/support/faults.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "lib/channel/layout.hpp"

namespace yoke_test {
namespace {

namespace channel = yoke::channel;

constexpr char variable[] = "YOKE_TEST_FAULTS";
constexpr auto point_count = static_cast<unsigned>(FaultPoint::count);

// Where things are on the board.
constexpr unsigned passes_begin = Board::words / 2;
constexpr unsigned events = passes_begin + point_count;  // faults that happened, and what the test did about them
constexpr unsigned frozen_may_end = events + 1;
constexpr unsigned all_over = frozen_may_end + 1;
constexpr unsigned started = all_over + 1;
constexpr unsigned orders_begin = started + 1;
constexpr unsigned order_words = 8;
enum : unsigned { armed, point_word, act_word, nth_word, incarnation_word, scribble_word, passed, victim_word };
constexpr unsigned pids_begin = orders_begin + Faults::most_orders * order_words;
constexpr unsigned most_workers = 512;
constexpr unsigned ready_begin = pids_begin + most_workers;
static_assert(ready_begin + most_workers < Board::words - 1);

constexpr unsigned word_of(unsigned order, unsigned what) { return orders_begin + order * order_words + what; }

/// Of the test's own process, while there are faults.
std::atomic<const Board*> known{nullptr};

/// In a worker: looks for the board once. Its first point is also where it gets its number.
const Board* board_of_worker() {
  static const Board* const board = []() -> const Board* {
    static Board told;
    const char* text = std::getenv(variable);
    if (!text || std::sscanf(text, "%d,%d,%d", &told.pid, &told.fd, &told.serial) != 3) return nullptr;
    const unsigned number = told.add(started);
    if (number <= most_workers) told.add(pids_begin + number - 1, static_cast<std::uint32_t>(::getpid()));
    return &told;
  }();
  return board;
}

/// 0 if the worker has not told it yet.
std::uint32_t incarnation_of(const Board& board, int pid) {
  for (unsigned i = 0; i < std::min(board.get(started), most_workers); ++i)
    if (board.get(pids_begin + i) == static_cast<std::uint32_t>(pid)) return i + 1;
  return 0;
}

/// Waits until the child is dead or stopped; nobody's wait status is taken by it. False if it was reaped.
bool wait_for_change(int pid) {
  siginfo_t info{};
  int result = 0;
  do result = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WSTOPPED | WNOWAIT);
  while (result != 0 && errno == EINTR);
  return result == 0;
}

bool is_alive(int pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int youngest_alive(const Board& board) {
  for (unsigned i = std::min(board.get(started), most_workers); i-- != 0;)
    if (const int pid = static_cast<int>(board.get(pids_begin + i)); pid != 0 && is_alive(pid)) return pid;
  return 0;
}

void scribble_over(channel::ResultSlot& slot, Scribble scribble) {
  const auto next_place = [&] { return static_cast<channel::Place>((static_cast<std::uint32_t>(slot.place) + 1) % 3); };
  switch (scribble) {
    case Scribble::longer: slot.length += 1; break;
    case Scribble::shorter: slot.length -= slot.length > 0 ? 1 : 0; break;
    case Scribble::endless: slot.length = UINT64_MAX; break;
    case Scribble::other_place: slot.place = next_place(); break;
    case Scribble::no_place: slot.place = static_cast<channel::Place>(77); break;
    case Scribble::other_where: slot.where = slot.where == 0 ? channel::arena_alignment : 0; break;
    case Scribble::far_where: slot.where = UINT64_MAX - 1; break;
    case Scribble::other_kind:
      slot.kind = slot.kind == channel::ResultKind::value ? channel::ResultKind::exception : channel::ResultKind::value;
      break;
    case Scribble::other_length_and_where:
      slot.length /= 2;
      slot.where = slot.where == 0 ? channel::arena_alignment : 0;
      break;
    case Scribble::content: slot.content[0] ^= std::byte{1}; break;
    case Scribble::ones:
      slot.length = slot.where = UINT64_MAX;
      std::memset(&slot.place, 0xff, sizeof slot.place);
      std::memset(&slot.kind, 0xff, sizeof slot.kind);
      break;
    case Scribble::count: break;
  }
}

/// The order that this passing is for, if there is one.
std::optional<unsigned> order_for(const Board& board, FaultPoint point, int pid) {
  std::optional<unsigned> due;
  for (unsigned order = 0; order < Faults::most_orders; ++order) {
    if (board.get(word_of(order, armed)) == 0 || board.get(word_of(order, point_word)) != static_cast<unsigned>(point))
      continue;
    const std::uint32_t wanted = board.get(word_of(order, incarnation_word));
    if (wanted != 0 && wanted != incarnation_of(board, pid)) continue;
    if (board.add(word_of(order, passed)) == board.get(word_of(order, nth_word))) due = order;
  }
  return due;
}

Act announce(const Board& board, unsigned order, int victim) {
  const auto act = static_cast<Act>(board.get(word_of(order, act_word)));
  board.add(word_of(order, victim_word), static_cast<std::uint32_t>(victim));
  board.add(events);
  return act;
}

void act_on_self(const Board& board, unsigned order, void* scribbled) {
  switch (announce(board, order, ::getpid())) {
    case Act::kill: ::kill(::getpid(), SIGKILL); break;
    case Act::hang_up: ::kill(::getpid(), SIGHUP); break;
    case Act::crash: *reinterpret_cast<volatile int*>(std::uintptr_t{64}) = 1; break;
    case Act::stop:
    case Act::freeze: ::kill(::getpid(), SIGSTOP); break;
    case Act::scribble:
      if (scribbled)
        scribble_over(*static_cast<channel::ResultSlot*>(scribbled),
                      static_cast<Scribble>(board.get(word_of(order, scribble_word))));
      return;
  }
  for (;;) ::pause();  // it does not go on
}

void act_on_worker(const Board& board, unsigned order, int pid) {
  const Act act = announce(board, order, pid);
  ::kill(pid, act == Act::kill ? SIGKILL : act == Act::hang_up ? SIGHUP : act == Act::crash ? SIGSEGV : SIGSTOP);
  wait_for_change(pid);
}

}  // namespace

Faults::Faults(const std::vector<Order>& orders)
    : orders_(static_cast<unsigned>(orders.size())), board_(put_up_board()) {
  if (orders_ > most_orders || known) throw std::logic_error("so many faults at once are not foreseen");
  for (unsigned i = 0; i < orders_; ++i) {
    const Order& order = orders[i];
    board_.add(word_of(i, point_word), static_cast<std::uint32_t>(order.point));
    board_.add(word_of(i, act_word), static_cast<std::uint32_t>(order.act));
    board_.add(word_of(i, nth_word), order.nth);
    board_.add(word_of(i, incarnation_word), order.incarnation);
    board_.add(word_of(i, scribble_word), static_cast<std::uint32_t>(order.scribble));
    board_.add(word_of(i, armed));
  }
  known = &board_;
  killer_ = std::thread([this] { kill_stopped(); });
}

Faults::~Faults() {
  board_.add(all_over);
  board_.add(events);
  killer_.join();
  known = nullptr;
  take_down(board_);
}

void Faults::kill_stopped() {
  std::vector<bool> seen(orders_);
  while (board_.get(all_over) == 0) {
    const std::uint32_t count = board_.get(events) + 1;
    for (unsigned i = 0; i < orders_; ++i) {
      const auto act = static_cast<Act>(board_.get(word_of(i, act_word)));
      const bool due = act == Act::stop || (act == Act::freeze && board_.get(frozen_may_end) != 0);
      if (seen[i] || !due || !fired(i)) continue;
      seen[i] = true;
      if (wait_for_change(victim(i))) ::kill(victim(i), SIGKILL);
    }
    try {
      board_.wait_for(events, count);
    } catch (const std::runtime_error&) {  // no fault for so long: the test has a guard of its own
    }
  }
}

std::map<std::string, std::string> Faults::env() const {
  // A crash while the leak checker holds the threads at exit, which stops AddressSanitizer's report for ever, is no
  // crash of the library: other tests look for leaks.
  const char* const options = std::getenv("ASAN_OPTIONS");
  return {
      {variable, std::to_string(board_.pid) + "," + std::to_string(board_.fd) + "," + std::to_string(board_.serial)},
      {"ASAN_OPTIONS", (options ? std::string(options) + ":" : std::string()) + "detect_leaks=0"}};
}

bool Faults::fired(unsigned order) const { return victim(order) != 0; }

int Faults::victim(unsigned order) const { return static_cast<int>(board_.get(word_of(order, victim_word))); }

bool Faults::victim_was_ready(unsigned order) const {
  const std::uint32_t number = incarnation_of(board_, victim(order));
  return number != 0 && board_.get(ready_begin + number - 1) != 0;
}

void Faults::end_frozen() const {
  board_.add(frozen_may_end);
  board_.add(events);
}

bool Faults::is_victim(int pid) const {
  for (unsigned i = 0; i < orders_; ++i)
    if (victim(i) == pid) return true;
  return false;
}

bool Faults::all_fired() const {
  for (unsigned i = 0; i < orders_; ++i)
    if (!fired(i)) return false;
  return true;
}

std::uint32_t Faults::passes(FaultPoint point) const { return board_.get(passes_begin + static_cast<unsigned>(point)); }

const char* to_string(FaultPoint point) {
#define YOKE_FAULT_POINT_NAME(name) #name,
  static constexpr const char* names[] = {YOKE_EACH_FAULT_POINT(YOKE_FAULT_POINT_NAME)};
#undef YOKE_FAULT_POINT_NAME
  return names[static_cast<unsigned>(point)];
}

const char* to_string(Act act) {
  constexpr const char* names[] = {"SIGKILL", "SIGHUP", "SIGSEGV", "SIGSTOP then SIGKILL", "SIGSTOP", "scribble"};
  return names[static_cast<unsigned>(act)];
}

}  // namespace yoke_test

namespace yoke::system {

void pass_fault_point(FaultPoint point, void* scribbled) noexcept {
  using namespace yoke_test;
  const Board* board = board_of_worker();
  if (!board) return;
  board->add(passes_begin + static_cast<unsigned>(point));
  if (point == FaultPoint::after_ready) board->add(ready_begin + incarnation_of(*board, ::getpid()) - 1);
  if (const auto order = order_for(*board, point, ::getpid())) act_on_self(*board, *order, scribbled);
}

void pass_fault_point(FaultPoint point) noexcept { pass_fault_point(point, nullptr); }

void pass_fault_point(FaultPoint point, int worker_pid) noexcept {
  using namespace yoke_test;
  const Board* board = known;
  if (!board) return;
  const int pid = worker_pid != 0 ? worker_pid : youngest_alive(*board);
  if (pid == 0) return;  // nobody is there yet
  board->add(passes_begin + static_cast<unsigned>(point));
  if (const auto order = order_for(*board, point, pid)) act_on_worker(*board, *order, pid);
}

}  // namespace yoke::system
