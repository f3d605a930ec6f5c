// A program with a busy pool, to be killed: busy_program [resident MB]. Says "ready" when every process runs its task,
// then waits for the end of its stdin.
//
// Its workers compute, sleep, block all signals, run a pool of their own, and hold a child process; one is idle.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/support/board.hpp"
#include "yoke/yoke.hpp"

namespace {

using yoke_test::Board;

enum Word : unsigned { running, started };

void compute(const Board& board) {
  board.add(running);
  for (volatile unsigned i = 0;;) i = i + 1;
}
void sleep_for_ever(const Board& board) {
  board.add(running);
  for (;;) ::pause();
}
void block_signals(const Board& board) {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
  sleep_for_ever(board);
}
void run_pool(const Board& board) {
  yoke::ProcessPoolExecutor pool(2);
  pool.submit(compute, board);
  pool.submit(sleep_for_ever, board).wait();
}
void hold_child(const Board& board) {
  if (::fork() == 0) sleep_for_ever(board);
  sleep_for_ever(board);
}
void meet(const Board& board) {
  board.add(started);
  board.wait_for(started, 6);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t resident = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0) << 20;
  const std::vector<char> ballast(resident, 1);
  const Board board = yoke_test::put_up_board();
  yoke::ProcessPoolExecutor pool(6);
  std::vector<yoke::Future<void>> all;
  for (int i = 0; i < 6; ++i) all.push_back(pool.submit(meet, board));
  for (auto& future : all) future.get();
  for (const auto task : {compute, sleep_for_ever, block_signals, run_pool, hold_child})
    all.push_back(pool.submit(task, board));
  board.wait_for(running, 7);
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return ballast.empty() ? 0 : ballast.back();
}
