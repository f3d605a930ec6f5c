#include "lib/remote/start_record.hpp"

#include <algorithm>

namespace yoke::remote {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds first_pause{500};
constexpr Milliseconds longest_pause{10'000};
constexpr Milliseconds longest_idle_pause{30'000};
constexpr Milliseconds shortest_patience{10'000};
constexpr Milliseconds serves_well_after{10'000};
constexpr int believed_refusals = 5;  // a launcher that ends so often with the same exit code

const system::Exited* exit_of(const std::optional<system::ExitStatus>& status) {
  return status ? std::get_if<system::Exited>(&*status) : nullptr;
}

}  // namespace

bool cannot_run(const std::optional<system::ExitStatus>& status) {
  constexpr int not_runnable = 126, not_found = 127;  // of a shell, and of env
  const auto* exited = exit_of(status);
  return exited && (exited->code == not_runnable || exited->code == not_found);
}

Clock::duration patience_with_start(int failures, std::optional<Clock::duration> last_took,
                                    Clock::duration start_timeout) {
  const bool long_one = failures % 2 == 0;
  const Clock::duration usual =
      std::max<Clock::duration>(shortest_patience, 4 * last_took.value_or(Clock::duration(0)));
  const Clock::duration most = last_took ? 2 * usual : start_timeout;
  return std::min(start_timeout, long_one ? most : usual);
}

Clock::duration pause_after(int failures, bool hopeful) {
  const Clock::duration pause = first_pause * (1 << std::min(failures, 6));
  return std::min<Clock::duration>(pause, hopeful ? longest_pause : longest_idle_pause);
}

void StartRecord::begin(Clock::time_point now, Clock::duration start_timeout) {
  begun_ = now;
  patience_ = patience_with_start(failures_, start_took_, start_timeout);
}

void StartRecord::served_from(Clock::time_point now) {
  serves_since_ = now;
  start_took_ = now - begun_;
}

void StartRecord::lost(Clock::time_point now) {
  missed_since_ = now;
  refusals_ = 0;
  if (now - serves_since_ >= serves_well_after) failures_ = 0;
}

void StartRecord::failed(Clock::time_point now, const std::optional<system::ExitStatus>& status) {
  constexpr int connection_broke = 255;  // of ssh
  const auto* exited = exit_of(status);
  const bool refused = exited && exited->code != connection_broke;
  refusals_ = !refused ? 0 : refusals_ > 0 && refusal_ == exited->code ? refusals_ + 1 : 1;
  refusal_ = refused ? exited->code : 0;
  if (failures_ == 0) missed_since_ = now;
}

Clock::duration StartRecord::next_pause(Clock::time_point now, Clock::duration reconnect_for) {
  const int before = failures_++;
  return pause_after(before, is_hopeful(now, reconnect_for));
}

bool StartRecord::is_hopeful(Clock::time_point now, Clock::duration reconnect_for) const {
  return failures_ == 0 || (refusals_ < believed_refusals && now - missed_since_ < reconnect_for);
}

}  // namespace yoke::remote
