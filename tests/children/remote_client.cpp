// A client that is busy on every host of a place when it is killed. Prints the pids of agents and workers, and "busy".
#include <unistd.h>

#include <cstdio>

#include "tests/remote/places.hpp"
#include "tests/support/board.hpp"
#include "yoke/yoke.hpp"

namespace {

constexpr unsigned entered = 0;
constexpr unsigned first_pid = 8;  // two words for each worker: its own, and its agent's

void work_for_ever(const yoke_test::Board& board, unsigned number) {
  board.add(first_pid + 2 * number, static_cast<std::uint32_t>(::getpid()));
  board.add(first_pid + 2 * number + 1, static_cast<std::uint32_t>(::getppid()));
  board.add(entered);
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto& place = yoke_test::find_place(argv[1]);
  const auto workers = static_cast<unsigned>(place.hosts);
  const auto board = yoke_test::put_up_board();
  yoke::Executor executor(std::make_shared<yoke::RemotePool>(yoke_test::options_at(place)));
  std::vector<yoke::Future<void>> futures;
  for (unsigned i = 0; i < workers; ++i) futures.push_back(executor.submit(work_for_ever, board, i));
  board.wait_for(entered, workers);
  for (unsigned i = 0; i < 2 * workers; ++i) std::printf("%u\n", board.get(first_pid + i));
  std::puts("busy");
  std::fflush(stdout);
  futures.front().wait();
}
