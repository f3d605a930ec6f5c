// Board: words that a test and all processes below it share, to count events and to wait for them.
//
// A memfd of the test, which any process reaches through /proc: a Board is two numbers and crosses as an argument.
// Words start at 0 and are only ever added to. Waiting has a hang guard, and no other clock.
#pragma once

#include <cstdint>

namespace yoke_test {

struct Board {
  static constexpr unsigned words = 4096;  // of a board unless more are asked for

  int pid = 0;  // of the process that made it
  int fd = -1;  // there
  int serial = 0;  // of the board, since descriptors are used again
  unsigned size = words;

  std::uint32_t add(unsigned word, std::uint32_t amount = 1) const;  // returns the new value
  std::uint32_t get(unsigned word) const;
  /// Waits until the word is at least `value`; throws std::runtime_error after a minute.
  void wait_for(unsigned word, std::uint32_t value = 1) const;
};

/// A new board of so many zeros; lives until it is taken down.
Board put_up_board(unsigned size = Board::words);
void take_down(const Board& board);

}  // namespace yoke_test
