// The tasks of the chaos test. Each counts its runs on the board of its ticket first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/support/board.hpp"

namespace yoke_test::chaos {

/// Where a task counts its runs: a word of its own.
struct Ticket {
  Board runs;
  std::uint32_t word = 0;
};

struct Parcel {
  std::uint32_t word = 0;
  std::string content;
};

enum class Suicide { by_sigkill, by_bad_pointer, by_abort, by_exit };
inline constexpr int ways_to_end = 4;
inline constexpr int suicide_exit_code = 3;

Parcel echo(const Ticket& ticket, std::string_view content);
std::uint32_t rest(const Ticket& ticket, int microseconds);
std::uint32_t hang(const Ticket& ticket);
/// Throws std::domain_error with the word as its text.
std::uint32_t fail(const Ticket& ticket);
std::uint32_t end_itself(const Ticket& ticket, Suicide way);
/// Leaves child processes behind in its process group, one of which ignores SIGTERM.
std::uint32_t leave_children(const Ticket& ticket);
/// Computes value + 1 in a worker of its own worker's pool.
int through_another_pool(const Ticket& ticket, int value);

/// For map: counts the item's run; throws std::domain_error for every seventh word.
std::uint32_t item(const Ticket& ticket, int microseconds);
inline bool item_fails(std::uint32_t word) { return word % 7 == 0; }

}  // namespace yoke_test::chaos
