// StartRecord: how the starts of one agent have gone, and what follows for the next one: how long it may take, and when
// it is tried. It reads no clock. Counts are since the agent served well, or since the pool began.
#pragma once

#include <chrono>
#include <optional>

#include "lib/system/process_handle.hpp"
#include "yoke/clock.hpp"

namespace yoke::remote {

class StartRecord {
 public:
  /// A start begins.
  void begin(Clock::time_point now, Clock::duration start_timeout);
  Clock::time_point begun() const noexcept { return begun_; }
  /// With this start, until the agent speaks.
  Clock::duration patience() const noexcept { return patience_; }
  /// The agent has spoken: the start went well.
  void served_from(Clock::time_point now);

  /// An agent that served was lost.
  void lost(Clock::time_point now);
  /// A start came to nothing. `status`: of its launcher, if that ended by itself.
  void failed(Clock::time_point now, const std::optional<system::ExitStatus>& status);
  /// The next start is planned; returns the pause until then.
  Clock::duration next_pause(Clock::time_point now, Clock::duration reconnect_for);

  int failures() const noexcept { return failures_; }
  /// Whether another start is worth waiting for.
  bool is_hopeful(Clock::time_point now, Clock::duration reconnect_for) const;

 private:
  Clock::time_point begun_{};
  Clock::duration patience_{};
  std::optional<Clock::duration> start_took_{};  // until the agent's first word, when it came last
  Clock::time_point serves_since_{};
  Clock::time_point missed_since_{};  // when it was lost, or its first start failed
  int failures_ = 0;  // of starts
  int refusals_ = 0;  // of them in a row: the launcher ended with that exit code, and none of a broken connection
  int refusal_ = 0;
};

/// Whether the launcher says that there is no such program there, or that it cannot be run: another start would end in
/// the same way.
bool cannot_run(const std::optional<system::ExitStatus>& status);

/// How long a start may take. Where the last one took a second, one that takes ten hangs, and a new one may not: the
/// network came back, or the next address answers. What is slow today gets more every other time.
Clock::duration patience_with_start(int failures, std::optional<Clock::duration> last_took,
                                    Clock::duration start_timeout);

/// Before a host is tried again: doubles; longer for one that nobody waits for any more.
Clock::duration pause_after(int failures, bool hopeful);

}  // namespace yoke::remote
