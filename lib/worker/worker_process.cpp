#include "lib/worker/worker_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <system_error>

#include "lib/channel/worker_channel.hpp"
#include "lib/system/fault_point.hpp"
#include "lib/system/lack.hpp"
#include "lib/system/life_notice.hpp"
#include "lib/system/modules.hpp"
#include "lib/system/rights.hpp"
#include "lib/wire/shared_memory.hpp"
#include "lib/wire/throw_place.hpp"
#include "lib/worker/crash_handler.hpp"
#include "lib/worker/lifeline.hpp"
#include "lib/worker/task_loop.hpp"
#include "yoke/error.hpp"
#include "yoke/export.hpp"
#include "yoke/process.hpp"

namespace yoke {
namespace {

int this_depth = 0;
const std::atomic<std::int32_t>* this_rank = nullptr;  // of a spare worker it changes when it takes a place
channel::WorkerStatus* this_status = nullptr;

}  // namespace

namespace worker {
namespace {

struct Descriptors {
  system::UniqueFd segment, socket, parent_life;
};

Descriptors take_bootstrap() {
  const auto value = system::own_variable(bootstrap_variable);
  std::array<int, 3> numbers{-1, -1, -1};
  std::string_view rest = value ? std::string_view(*value) : "";
  for (int& number : numbers) {
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc() || number < 3) {
      fmt::print(stderr, "yoke: {} is set to '{}', which no pool has written: unset it\n", bootstrap_variable,
                 value.value_or(""));
      _exit(exit_start_failed);
    }
    rest.remove_prefix(std::min<std::size_t>(rest.size(), static_cast<std::size_t>(end - rest.data()) + 1));
  }
  ::unsetenv(bootstrap_variable);  // what this process starts is no worker of that pool
  for (const int number : numbers) ::fcntl(number, F_SETFD, FD_CLOEXEC);
  return {system::UniqueFd(numbers[0]), system::UniqueFd(numbers[1]), system::UniqueFd(numbers[2])};
}

[[noreturn]] void fail_start(channel::WorkerChannel& channel, const std::string& reason,
                             int exit_code = exit_start_failed) {
  record_reason(channel.black_box(), reason);
  _exit(exit_code);
}

}  // namespace

bool start_pending() noexcept { return system::own_variable(bootstrap_variable).has_value(); }

void run() {
  Descriptors descriptors = take_bootstrap();
  YOKE_FAULT_POINT(bootstrap_taken);
  // Never destroyed: the crash handler may need it until the very end.
  static channel::WorkerChannel& channel =
      *new channel::WorkerChannel(std::move(descriptors.segment), std::move(descriptors.socket));
  channel.status().pid.store(::getpid(), std::memory_order_relaxed);
  system::hold_life_notice(channel.life());
  YOKE_FAULT_POINT(life_notice_held);
  const channel::Bootstrap& bootstrap = channel.bootstrap();
  const system::ModuleIdentity identity = system::home_module().identity;
  if (bootstrap.version != channel::layout_version)
    fail_start(channel, fmt::format("the worker speaks version {} of the segment, its parent version {}",
                                    channel::layout_version, bootstrap.version));
  if (identity != system::ModuleIdentity(bootstrap.identity, bootstrap.identity + bootstrap.identity_length))
    fail_start(
        channel,
        fmt::format("the worker runs another build of {} (build-id {}) than its parent: it was replaced "
                    "while the program ran. Start the program again",
                    system::program_is_ours() ? "the program" : system::home_module().path, system::to_hex(identity)));
  YOKE_FAULT_POINT(identity_compared);
  SharedMemory::join_tree(bootstrap.tree);
  this_rank = &bootstrap.rank;
  this_depth = bootstrap.depth;
  this_status = &channel.status();
  // exec gave the process the name of a descriptor; give it the program's, as ps shows it.
  ::prctl(PR_SET_NAME, fmt::format("{:.10}/{}", program_invocation_short_name, this_worker::rank()).c_str());
  try {
    start_lifeline(std::move(descriptors.parent_life), this_worker::rank(), channel.end_word());
    YOKE_FAULT_POINT(lifeline_started);
    install_crash_handler(channel);
    wire::note_throws();
    YOKE_FAULT_POINT(crash_handler_installed);
    if (system::own_variable("YOKE_WORKER_STOP") == "1")
      ::raise(SIGSTOP);  // a debugger may attach now; it goes on with SIGCONT
    YOKE_FAULT_POINT(before_ready);
    channel.announce_ready();
  } catch (const std::system_error& error) {
    fail_start(channel, error.what(), system::may_pass(error.code()) ? exit_start_lacks : exit_start_failed);
  } catch (const std::bad_alloc& error) {
    fail_start(channel, error.what(), exit_start_lacks);
  } catch (const std::exception& error) {
    fail_start(channel, error.what());
  }
  YOKE_FAULT_POINT(after_ready);
  run_tasks(channel);
  YOKE_FAULT_POINT(before_exit);
  std::exit(0);
}

}  // namespace worker

namespace this_worker {
bool is_worker() noexcept { return this_rank != nullptr; }
int rank() noexcept { return this_rank ? this_rank->load(std::memory_order_acquire) : -1; }
int depth() noexcept { return this_depth; }
void heartbeat() noexcept {
  if (!this_status) return;
  const auto now = Clock::now().time_since_epoch();
  this_status->heartbeat_ns.store(std::chrono::nanoseconds(now).count(), std::memory_order_relaxed);
}
}  // namespace this_worker

/// For yoke-worker.
extern "C" YOKE_API void yoke_worker_main() { worker::run(); }

}  // namespace yoke
