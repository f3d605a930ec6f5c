// Ledger: what became of everything that the chaos test sent, and what went wrong. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace yoke_test {

struct Ledger {
  using Count = std::atomic<std::uint64_t>;

  Count tasks{0};       // given to the pool; the items of a map are tasks by the chunk
  Count values{0};      // futures and items with the right value
  Count exceptions{0};  // with the exception that their task threw
  Count lost{0};        // tasks with the death of their worker
  Count cancelled{0};
  Count timeouts{0};
  Count callbacks{0};
  Count bytes{0};   // of arguments
  Count kills{0};   // signals that end a worker, sent by the killer
  Count deaths{0};  // that the pools saw and had not asked for
  Count retries{0};
  Count workers{0};  // started
  Count troubles{0};

  /// The run has failed. The first few are told on stderr.
  void wrong(const std::string& what);
  /// The counts in one line.
  std::string text() const;
};

}  // namespace yoke_test
