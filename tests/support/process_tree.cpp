#include "tests/support/process_tree.hpp"

#include <signal.h>
#include <unistd.h>

#include "yoke/yoke.hpp"

namespace yoke_test {
namespace {

void start_children() {
  for (const bool ignores_sigterm : {false, true}) {
    if (::fork() != 0) continue;
    if (ignores_sigterm) ::signal(SIGTERM, SIG_IGN);
    ::execlp("sleep", "sleep", "86400", nullptr);
    ::_exit(127);
  }
}

int compute(const Tree& tree) {
  start_children();
  tree.board.add(tree.grown, 3);
  for (volatile unsigned i = 0;;) i = i + 1;
}

}  // namespace

int grow(const Tree& tree, int levels) {
  tree.board.add(tree.pids + static_cast<unsigned>(levels), static_cast<std::uint32_t>(::getpid()));
  if (levels == 0) return compute(tree);
  start_children();
  tree.board.add(tree.grown, 3);
  yoke::ProcessPoolExecutor inner(2);
  inner.submit(compute, tree);
  inner.submit(grow, tree, levels - 1).wait();
  inner.shutdown({.kill_workers = true});
  return levels;
}

}  // namespace yoke_test
