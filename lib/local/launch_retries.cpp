#include "lib/local/launch_retries.hpp"

namespace yoke::local {

LaunchRetries::Verdict LaunchRetries::failed(Clock::time_point now, bool passing, bool served) {
  ++tries_;
  if (!failing_since_) failing_since_ = now;
  next_ = now + first_delay * (1 << std::min(tries_, 6));
  if (served) return Verdict::try_again;
  if (!passing) return tries_ >= most_tries ? Verdict::give_up : Verdict::try_again;
  if (now - *failing_since_ < patience_) return Verdict::try_again;
  failing_since_.reset();
  return Verdict::fail_waiting;
}

}  // namespace yoke::local
