// RemotePool: the public face of a fleet.
#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "lib/executor/end_of_program.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/rights.hpp"
#include "lib/wire/printable.hpp"
#include "yoke/executor.hpp"
#include "yoke/remote.hpp"

namespace yoke {

LostHostError::~LostHostError() = default;

RemotePool::RemotePool(RemoteOptions options) {
  if (system::own_variable("YOKE_IN_PROCESS") == "1") {
    pool_ = make_in_process_pool(options.worker);
    return;
  }
  if (const std::string trouble = system::trouble_of_rights(); !trouble.empty()) throw BrokenProcessPool(trouble);
  finish_pools_at_exit();
  fleet_ = remote::Fleet::make(std::move(options));
  pool_ = fleet_;
}

/// The last handle may be that of a task, dropped by the fleet's thread with its lock held.
RemotePool::~RemotePool() {
  if (fleet_) fleet_->detach();
}

int RemotePool::connect(std::chrono::milliseconds timeout, int hosts) {
  return fleet_ ? fleet_->connect(timeout, hosts) : 1;
}
std::vector<HostInfo> RemotePool::hosts() const { return fleet_ ? fleet_->hosts() : std::vector<HostInfo>(); }
void RemotePool::submit(TaskPtr task) { pool_->submit(std::move(task)); }
bool RemotePool::cancel(Task& task, CancelMode mode) { return pool_->cancel(task, mode); }
bool RemotePool::running(const Task& task) const { return pool_->running(task); }
void RemotePool::wait(const Task& task, Deadline deadline) { pool_->wait(task, deadline); }
bool RemotePool::accepting() const { return pool_->accepting(); }
void RemotePool::shutdown(const ShutdownOptions& options) { pool_->shutdown(options); }
void RemotePool::resize(int max_workers) { pool_->resize(max_workers); }
int RemotePool::max_workers() const { return pool_->max_workers(); }
Stats RemotePool::stats() const { return pool_->stats(); }

void print_output(const OutputLine& line) {
  std::FILE* const to = line.is_stderr ? stderr : stdout;
  std::string_view text = line.text;
  if (text.ends_with('\r')) text.remove_suffix(1);
  fmt::print(to, "{}/{}: {}\n", wire::printable(line.host, wire::Lines::one, wire::most_words), line.rank,
             wire::printable(text, wire::Lines::one));
  std::fflush(to);
}

}  // namespace yoke
