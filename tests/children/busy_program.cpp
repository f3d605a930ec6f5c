// A program with a busy pool, to be killed: busy_program [resident MB [stopped]]. Says "ready" when every process runs
// its task, then waits for the end of its stdin.
//
// Its workers compute, sleep, block all signals, and run pools three deep, each of whose workers is busy and has child
// processes of its own; one is idle, and one is stopped if that is wanted, or idle too.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/board.hpp"
#include "tests/support/process_tree.hpp"
#include "yoke/yoke.hpp"

namespace {

using yoke_test::Board;

enum Word : unsigned { running, started, stopping, grown, pids };

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
void stop(const Board& board) {
  board.add(stopping, static_cast<std::uint32_t>(::getpid()));
  ::raise(SIGSTOP);
}
bool is_stopped(std::uint32_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  const std::string text(std::istreambuf_iterator<char>(stat), {});
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && text.compare(name_end, 3, ") T") == 0;
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
  for (const auto task : {compute, sleep_for_ever, block_signals}) all.push_back(pool.submit(task, board));
  const auto tree = pool.submit(yoke_test::grow, yoke_test::Tree{board, grown, pids}, 3);
  board.wait_for(running, 3);
  board.wait_for(grown, yoke_test::tree_size(3));
  if (argc > 2) {
    all.push_back(pool.submit(stop, board));
    board.wait_for(stopping);
    while (!is_stopped(board.get(stopping))) std::this_thread::yield();
  }
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return ballast.empty() ? 0 : ballast.back();
}
