// A tree of processes: pools in the workers of pools, each worker busy and with child processes of its own. What must
// end with the worker or the program at its root.
#pragma once

#include "tests/support/board.hpp"

namespace yoke_test {

struct Tree {
  Board board;
  unsigned grown = 0;  // word: how many processes there are
  unsigned pids = 0;  // first of the words with the pid of the worker that holds the pool of a level
};

/// A task with so many levels of pools below it. Starts child processes in its worker's process group, one of which
/// ignores SIGTERM. At level 0 it computes for ever; above it returns its level when what is below it has ended.
int grow(const Tree& tree, int levels);
/// All processes of a tree with so many levels, the worker at its root included.
constexpr unsigned tree_size(int levels) { return 3 + 6 * static_cast<unsigned>(levels); }

}  // namespace yoke_test
