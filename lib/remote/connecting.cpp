// Starting agents, and losing them.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <random>
#include <system_error>

#include "lib/pool/failure.hpp"
#include "lib/pool/log.hpp"
#include "lib/remote/agent_command.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/modules.hpp"
#include "lib/wire/printable.hpp"

namespace yoke::remote {

using namespace protocol;

namespace {

using Milliseconds = std::chrono::milliseconds;

// Servers turn away bursts of connections that have not logged in (MaxStartups of sshd is 10). One that takes longer
// than this has logged in, or hangs, and holds up nobody.
constexpr int most_young_starts = 8;
constexpr Milliseconds youth{1'000};
constexpr Milliseconds first_pause{500};  // before a host is tried again; doubles
constexpr Milliseconds longest_pause{10'000};
constexpr Milliseconds longest_idle_pause{30'000};  // for one that nobody waits for any more
constexpr Milliseconds shortest_patience{10'000};  // with a start
constexpr Milliseconds serves_well_after{10'000};
constexpr std::chrono::seconds farewell_patience{10};  // for an agent to end that was asked to, beyond kill_grace

/// The tasks of a lost host.
class LostHost final : public Failure {
 public:
  LostHost(std::string host, std::string why, int pid) : host_(std::move(host)), why_(std::move(why)), pid_(pid) {}
  std::exception_ptr make(const std::string& task_name) const override {
    WorkerDeath death;
    death.pid = pid_;
    death.status_known = false;
    death.task = task_name;
    death.reason = why_;
    death.host = host_;
    return std::make_exception_ptr(LostHostError(
        fmt::format("task '{}' was on host {} when the host was lost; it may have run, or still run there, and "
                    "TaskOptions::retries did not allow another try\n  {}",
                    task_name, host_, why_),
        death));
  }

 private:
  std::string host_;
  std::string why_;
  int pid_;
};

/// Half of it to all of it, by chance: hosts that were turned away together do not come back together.
Clock::duration with_jitter(Clock::duration pause) {
  thread_local std::minstd_rand random(static_cast<unsigned>(Clock::now().time_since_epoch().count()) ^
                                       static_cast<unsigned>(::getpid()));
  return pause / 2 + pause * std::uniform_int_distribution<int>(0, 512)(random) / 1024;
}

/// Whether a launcher's command cannot be started for a reason that lasts.
bool lasts(const std::exception& error) {
  const auto* system_error = dynamic_cast<const std::system_error*>(&error);
  if (!system_error) return dynamic_cast<const std::bad_alloc*>(&error) == nullptr;
  constexpr std::array passing{EAGAIN, ENOMEM, EMFILE, ENFILE, EINTR, ETXTBSY};
  return std::ranges::find(passing, system_error->code().value()) == passing.end();
}

/// The last lines of what something else wrote, indented.
std::string last_lines(const std::string& written) {
  constexpr std::size_t most = 5;
  std::string text = written;
  std::erase(text, '\r');
  text = wire::printable(text, wire::Lines::several);
  std::size_t begin = text.find_last_not_of(" \r\n");
  if (begin == std::string::npos) return {};
  const std::string trimmed = text.substr(0, begin + 1);
  begin = trimmed.size();
  for (std::size_t lines = 0; lines < most && begin != std::string::npos && begin != 0; ++lines)
    begin = trimmed.rfind('\n', begin - 1);
  std::string shown = trimmed.substr(begin == std::string::npos ? 0 : begin);
  for (std::size_t at = 0; (at = shown.find('\n', at)) != std::string::npos; at += 3) shown.replace(at, 1, "\n  ");
  return shown.starts_with('\n') ? shown : "\n  " + shown;
}

std::string own_path() { return path_of_program(system::main_module().path); }

}  // namespace

/// Makes a host of each node, once there are some.
void Fleet::follow_slurm(Lock&) {
  if (!options_.slurm) return;
  if (!slurm_) {
    if (!accepting_ && backlog_.empty()) return;
    try {
      slurm_ = std::make_unique<SlurmJob>(*options_.slurm);
    } catch (const std::exception& error) {
      slurm_.reset();
      return break_pool(fmt::format("no nodes can be asked for: {}", error.what()));
    }
  }
  const auto before = slurm_->phase();
  slurm_->proceed();
  if (slurm_->phase() == before) return;
  if (slurm_->phase() == SlurmJob::Phase::granted)
    for (const SlurmJob::Node& node : slurm_->nodes()) {
      links_.push_back(std::make_unique<Link>(links_.size(), Host{node.name, slurm_->launcher(), {}}));
      links_.back()->processors = node.processors;
    }
  if (slurm_->phase() == SlurmJob::Phase::failed) {
    const bool others = std::ranges::any_of(links_, [&](const auto& link) { return is_hopeful(*link); });
    if (!others || options_.require_all_hosts) break_pool(slurm_->trouble());
  }
  changed_.notify_all();
}

/// Starts the agents whose time has come, those that have failed least before others, and says when to call it again.
void Fleet::start_links(Lock& lock) {
  for (;;) {
    starts_at_ = Clock::time_point::max();
    if (broken_ || killing_ || (!accepting_ && backlog_.empty())) return;
    const auto now = Clock::now();
    int young = 0;
    auto oldest = now;
    Link* next = nullptr;
    for (const auto& link : links_) {
      if (link->phase == LinkPhase::starting && now - link->launched < youth) {
        ++young;
        oldest = std::min(oldest, link->launched);
      } else if (link->phase == LinkPhase::waiting && now < link->acts_at) {
        starts_at_ = std::min(starts_at_, link->acts_at);
      } else if (link->phase == LinkPhase::waiting && (!next || link->failures < next->failures)) {
        next = link.get();
      }
    }
    if (!next) return;
    if (young >= most_young_starts) {
      starts_at_ = std::min(starts_at_, oldest + youth);
      return;
    }
    launch(*next, lock);
  }
}

/// How long a start may take. Where the last one took a second, one that takes ten hangs, and a new one may not: the
/// network came back, or the next address answers. What is slow today gets more every other time.
Clock::duration Fleet::patience_with(const Link& link) const {
  const bool long_one = link.failures % 2 == 0;
  const Clock::duration usual =
      std::max<Clock::duration>(shortest_patience, 4 * link.start_took.value_or(Clock::duration(0)));
  const Clock::duration most = link.start_took ? 2 * usual : options_.start_timeout;
  return std::min<Clock::duration>(options_.start_timeout, long_one ? most : usual);
}

void Fleet::launch(Link& link, Lock& lock) {
  link.phase = LinkPhase::starting;
  link.launched = Clock::now();
  link.patience = patience_with(link);
  link.acts_at = link.launched + link.patience;
  link.errors.clear();
  link.write_failed = false;
  lock.unlock();
  std::unique_ptr<Carrier> carrier;
  std::string token;
  std::vector<std::string> command;
  std::string trouble;
  bool hopeless = false;
  const bool of_slurm = link.index >= options_.hosts.size();
  try {
    token = make_token();
    if (options_.deploy && !deployment_) deployment_ = make_deployment();
    const auto agent = deployment_ ? deploying_command(*deployment_, token)
                                   : agent_command(options_.program.empty() ? own_path() : options_.program, token);
    Launcher launcher = link.host.launcher.empty() ? options_.launcher : link.host.launcher;
    for (const std::string& option : unknown_options_) leave_out(launcher, option);
    command = fill_in(launcher, link.host.name, agent);
    carrier =
        std::make_unique<Carrier>(command, SIGKILL, of_slurm ? variables_of_outer_step() : bindings_of_outer_step());
  } catch (const std::exception& error) {
    trouble = error.what();
    hopeless = lasts(error);
  }
  lock.lock();
  link.hopeless |= hopeless;
  pool::log(pool::LogLevel::info, "host {}: started {}", link.host.name, quote(command));
  link.command = std::move(command);
  // What an agent sends of any length is results and the failures of tasks.
  constexpr std::size_t failure_text = std::size_t{1} << 20;
  const std::optional<std::size_t>& most = options_.worker.max_result;
  link.reader =
      FrameReader(is_frame_type, marker_of(token), most ? std::max(*most, failure_text) : wire::most_payload_bytes);
  link.token = std::move(token);
  link.output_held = link.output_taken = 0;
  link.may_need_program = options_.deploy;
  link.carrier = std::move(carrier);
  if (!link.carrier) lose(link, trouble, lock);
}

void Fleet::keep_time(Lock& lock) {
  if (Clock::now() >= trims_blocks_at_) {
    blocks_.trim();
    trims_blocks_at_ = Clock::now() + options_.heartbeat;
  }
  for (std::size_t i = 0; i < links_.size(); ++i) {
    Link& link = *links_[i];
    if (!link.alive()) continue;
    const auto now = Clock::now();
    if (link.phase == LinkPhase::starting) {
      if (now >= link.acts_at)
        lose(link,
             fmt::format("its agent did not speak within {} ms{}: is the program there linked to yoke, and does the "
                         "launcher pass "
                         "on its stdin and stdout?",
                         std::chrono::ceil<Milliseconds>(link.patience).count(),
                         link.patience == options_.start_timeout ? " (start_timeout)" : ""),
             lock);
      continue;
    }
    if (link.phase == LinkPhase::stopping && now >= link.acts_at) {
      end(link, lock);
    } else if (now - link.heard >= silence_) {
      lose(link,
           fmt::format("nothing was heard of it for {} ms, longer than the lease ({} ms) allows", silence_.count(),
                       options_.lease.count()),
           lock);
    } else if (now >= link.beats_at) {
      link.batch.push_to(link.queue, FrameType::tasks);
      drop_blocks(link);
      link.queue.push(FrameType::heartbeat, {});
      link.beats_at = now + options_.heartbeat;
    }
  }
}

/// What is known of the end of a launcher, or of an agent that speaks no sense.
std::string Fleet::why_it_ended(const Link& link, const std::string& why,
                                const std::optional<system::ExitStatus>& status) {
  std::string text = fmt::format("host {}: {}", link.host.name, why);
  if (!link.command.empty())
    text += fmt::format("\n  {}: {}", quote(link.command),
                        status         ? "ended with " + describe(*status)
                        : link.carrier ? "killed"
                                       : "not started");
  std::string said = last_lines(link.errors);
  if (!link.reader.marker_seen() && said.empty()) said = last_lines(link.reader.banner());
  return text + said;
}

/// A link that is of no use any more: its tasks go elsewhere or fail, and it is tried again unless that is useless.
/// `last_words`: for a launcher to end whose stream has. One that hangs gets no time: this thread is all hosts'.
void Fleet::lose(Link& link, const std::string& why, Lock& lock, Milliseconds last_words) {
  const bool served = link.phase == LinkPhase::serving;
  const bool was_to_end = link.phase == LinkPhase::stopping;
  link.phase = was_to_end ? LinkPhase::ended : LinkPhase::waiting;
  link.acts_at = Clock::time_point::max();
  std::unique_ptr<Carrier> carrier = std::move(link.carrier);
  std::optional<system::ExitStatus> status;
  if (carrier) {
    lock.unlock();
    carrier->close_to();
    carrier->reap(Clock::now() + last_words);
    status = carrier->try_reap();
    lock.lock();
    link.carrier = std::move(carrier);
    while (link.carrier->errors() >= 0) {
      const std::size_t before = link.errors.size();
      read_errors(link);
      if (link.carrier->errors() < 0 || link.errors.size() == before) break;
    }
  }
  link.trouble = why_it_ended(link, why, status);
  carrier = std::move(link.carrier);
  pool::log(pool::LogLevel::info, "{}", link.trouble);
  give_back_tasks(link);
  if (!was_to_end) {
    plan_next_start(link, served, status);
    look_for_hope(link);
  }
  changed_.notify_all();
  if (!carrier) return;
  lock.unlock();
  carrier.reset();
  lock.lock();
}

/// Those of a link that was lost: to the backlog where that is allowed, others fail.
void Fleet::give_back_tasks(Link& link) {
  auto sent = std::move(link.sent);
  link.sent.clear();
  link.batch.clear();
  link.queue = FrameQueue();
  link.knows_function.clear();
  link.knows_module.clear();
  link.blocks.clear();
  add_counts(link.stats_before, std::exchange(link.stats, {}));
  std::vector<std::pair<TaskNumber, TaskPtr>> again;
  for (auto& [number, item] : sent) {
    const TaskPtr task = std::move(item.task);
    task->pool_word = 0;
    if (task->done()) continue;
    ++task->attempts;
    if (static_cast<int>(task->attempts) <= task->options().retries && !broken_ && !killing_) {
      ++counts_.retried;
      again.emplace_back(number, task);
      continue;
    }
    ++counts_.failed;
    task->resolve(pool::failed(std::make_shared<LostHost>(link.host.name, link.trouble, task->worker_pid())));
  }
  std::ranges::sort(again, [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [number, task] : again) backlog_.push_front(std::move(task));
}

/// Sooner or later, or not at all where it is certain to fail again.
void Fleet::plan_next_start(Link& link, bool served, const std::optional<system::ExitStatus>& status) {
  constexpr int cannot_run = 126, not_found = 127;  // of a shell, and of env
  constexpr int connection_broke = 255;  // of ssh
  const auto now = Clock::now();
  const auto* exited = status ? std::get_if<system::Exited>(&*status) : nullptr;
  if (served) {
    link.missed_since = now;
    link.refusals = 0;
    if (now - link.serves_since >= serves_well_after) link.failures = 0;
  } else {
    if (exited && (exited->code == cannot_run || exited->code == not_found)) link.hopeless = true;
    const bool refused = exited && exited->code != connection_broke;
    link.refusals = !refused ? 0 : link.refusals > 0 && link.refusal == exited->code ? link.refusals + 1 : 1;
    link.refusal = refused ? exited->code : 0;
    if (link.failures == 0) link.missed_since = now;
  }
  if (const std::string unknown = unknown_option(link.errors); !unknown.empty() && leave_out(link.command, unknown)) {
    unknown_options_.push_back(unknown);  // once more without it
    link.acts_at = now;
    return;
  }
  const bool node_is_gone = link.index >= options_.hosts.size() && slurm_->phase() != SlurmJob::Phase::granted;
  if (link.hopeless || node_is_gone) {
    link.phase = LinkPhase::ended;
    return;
  }
  const Clock::duration pause = first_pause * (1 << std::min(link.failures, 6));
  ++link.failures;
  link.acts_at =
      now + with_jitter(std::min<Clock::duration>(pause, is_hopeful(link) ? longest_pause : longest_idle_pause));
}

/// After a loss: with no host left that serves or may soon, the pool cannot go on.
void Fleet::look_for_hope(const Link& link) {
  if (broken_ || killing_ || is_hopeful(link)) return;
  const bool slurm_may_come = options_.slurm && (!slurm_ || slurm_->phase() == SlurmJob::Phase::requesting);
  const bool others =
      slurm_may_come || std::ranges::any_of(links_, [&](const auto& other) { return is_hopeful(*other); });
  if (others && !options_.require_all_hosts) return;
  std::string text = others ? "a host cannot be used, and require_all_hosts is set:" : "no host can be used:";
  for (const char* separator = " "; const auto& other : links_)
    if (!other->trouble.empty()) text += std::exchange(separator, "\n") + other->trouble;
  if (slurm_ && !slurm_->trouble().empty()) text += "\n" + slurm_->trouble();
  break_pool(text);
}

/// When there is nothing to do any more, and nothing will come.
void Fleet::stop_links(Lock& lock) {
  const bool ends_now = broken_ || killing_;
  const bool done = !accepting_ && backlog_.empty() &&
                    std::ranges::all_of(links_, [](const auto& link) { return link->sent.empty(); });
  if (!ends_now && !done) return;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    Link& link = *links_[i];
    if (link.phase == LinkPhase::serving) {
      link.phase = LinkPhase::stopping;
      link.acts_at = Clock::now() + options_.worker.kill_grace + farewell_patience;
      link.batch.push_to(link.queue, FrameType::tasks);
      push_note(link.queue, FrameType::stop, StopNote{ends_now});
    } else if (link.phase == LinkPhase::starting || link.phase == LinkPhase::waiting) {
      end(link, lock);
    }
  }
  if (slurm_ && std::ranges::all_of(links_, [](const auto& link) { return link->phase == LinkPhase::ended; })) {
    try {
      slurm_->cancel();
    } catch (const std::exception& error) {
      pool::log(pool::LogLevel::info, "the Slurm job cannot be cancelled: {}", error.what());
      slurm_.reset();
    }
  }
}

/// For good. `last_words`: as of lose.
void Fleet::end(Link& link, Lock& lock, Milliseconds last_words) {
  link.phase = LinkPhase::ended;
  std::unique_ptr<Carrier> carrier = std::move(link.carrier);
  if (!carrier) return;
  lock.unlock();
  carrier->close_to();
  carrier->reap(Clock::now() + last_words);  // a launcher that ends by itself takes leave of its server
  carrier.reset();
  lock.lock();
}

}  // namespace yoke::remote
