#include "tests/chaos/ledger.hpp"

#include <fmt/format.h>

namespace yoke_test {
namespace {

constexpr std::uint64_t most_told = 20;

}  // namespace

void Ledger::wrong(const std::string& what) {
  if (++troubles <= most_told) fmt::print(stderr, "chaos: wrong: {}\n", what);
}

std::string Ledger::text() const {
  return fmt::format(
      "{} kills, {} tasks ({} MB); {} values, {} exceptions, {} lost to a death, {} cancelled, {} out of time; {} "
      "callbacks, "
      "{} deaths, {} retries, {} workers started",
      kills.load(), tasks.load(), bytes.load() >> 20, values.load(), exceptions.load(), lost.load(), cancelled.load(),
      timeouts.load(), callbacks.load(), deaths.load(), retries.load(), workers.load());
}

}  // namespace yoke_test
