#include "tests/chaos/killer.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

namespace yoke_test::chaos {
namespace {

using namespace std::chrono_literals;

/// A worker by descriptor: its pid may be another process's a moment later.
class Victim {
 public:
  Victim(const yoke::Executor& pool, int pid) : pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {
    // A worker that the pool still lists has not been reaped: then the descriptor is the worker's, not a successor's.
    const auto workers = pool.stats().workers;
    listed_ = std::any_of(workers.begin(), workers.end(), [&](const auto& worker) { return worker.pid == pid; });
  }
  ~Victim() {
    if (pidfd_ >= 0) ::close(pidfd_);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  bool signal(int number) const {
    return listed_ && pidfd_ >= 0 && ::syscall(SYS_pidfd_send_signal, pidfd_, number, nullptr, 0) == 0;
  }

 private:
  int pidfd_;
  bool listed_ = false;
};

}  // namespace

std::chrono::microseconds Killer::some_pause(std::chrono::microseconds mean) {
  std::exponential_distribution<double> pause(1.0 / static_cast<double>(mean.count()));
  return std::chrono::microseconds(static_cast<std::int64_t>(pause(random_)));
}

void Killer::strike(const yoke::WorkerInfo& info) {
  const Victim victim(pool_, info.pid);
  const std::uint64_t way = random_() % 100;
  // A program that crashes while it starts up would do so again: that breaks a pool, and is another story.
  if (way < 30 && info.state != yoke::WorkerState::starting) {
    if (victim.signal(SIGSEGV)) ++ledger_.kills;
  } else if (way < 60) {
    if (!victim.signal(SIGSTOP)) return;
    std::this_thread::sleep_for(some_pause(way < 58 ? 500us : 100'000us));
    if (victim.signal(way < 35 ? SIGCONT : SIGKILL) && way >= 35) ++ledger_.kills;
  } else {
    if (victim.signal(SIGKILL)) ++ledger_.kills;
  }
}

void Killer::run(const std::atomic<bool>& stop) {
  while (!stop) {
    std::this_thread::sleep_for(some_pause(pause_));
    const auto workers = pool_.stats().workers;
    if (workers.empty()) continue;
    if (random_() % 100 == 0) {
      for (const auto& worker : workers) strike(worker);
    } else {
      strike(workers[random_() % workers.size()]);
    }
  }
}

}  // namespace yoke_test::chaos
