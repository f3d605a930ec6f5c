// Starting agents, and losing them.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "lib/pool/failure.hpp"
#include "lib/pool/log.hpp"
#include "lib/remote/agent_command.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/modules.hpp"

namespace yoke::remote {
namespace {

constexpr int most_starting = 8;  // servers turn away bursts of connections: MaxStartups of sshd is 10
constexpr std::chrono::milliseconds first_pause{500};  // before a host that was lost is tried again; doubles
constexpr std::chrono::milliseconds longest_pause{30'000};
constexpr std::chrono::milliseconds last_words{200};  // for a launcher to end after its stream has
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
                    "TaskOptions::retries did not allow another try\n  {}", task_name, host_, why_), death));
  }

 private:
  std::string host_;
  std::string why_;
  int pid_;
};

/// The last lines of a text, indented.
std::string last_lines(const std::string& text) {
  constexpr std::size_t most = 5;
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

std::string own_path() {
  std::error_code none;
  return path_of_program(std::filesystem::read_symlink("/proc/self/exe", none).string());
}

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
    for (const std::string& node : slurm_->nodes())
      links_.push_back(std::make_unique<Link>(links_.size(), Host{node, slurm_->launcher(), {}}));
  if (slurm_->phase() == SlurmJob::Phase::failed) {
    const bool others = std::ranges::any_of(links_, [](const auto& link) { return link->may_serve(); });
    if (!others || options_.require_all_hosts) break_pool(slurm_->trouble());
  }
  changed_.notify_all();
}

void Fleet::start_links(Lock& lock) {
  if (broken_ || killing_ || (!accepting_ && backlog_.empty())) return;
  auto starting = std::ranges::count_if(links_, [](const auto& link) { return link->phase == LinkPhase::starting; });
  for (std::size_t i = 0; i < links_.size() && starting < most_starting; ++i) {
    Link& link = *links_[i];
    if (link.phase != LinkPhase::waiting || Clock::now() < link.acts_at) continue;
    launch(link, lock);
    ++starting;
  }
}

void Fleet::launch(Link& link, Lock& lock) {
  link.phase = LinkPhase::starting;
  link.acts_at = Clock::now() + options_.start_timeout;
  link.errors.clear();
  link.write_failed = false;
  lock.unlock();
  std::unique_ptr<Carrier> carrier;
  std::string token;
  std::vector<std::string> command;
  std::string trouble;
  try {
    token = make_token();
    if (options_.deploy && !deployment_) deployment_ = make_deployment();
    const auto agent = deployment_ ? deploying_command(*deployment_, token)
                                   : agent_command(options_.program.empty() ? own_path() : options_.program, token);
    command = fill_in(link.host.launcher.empty() ? options_.launcher : link.host.launcher, link.host.name, agent);
    carrier = std::make_unique<Carrier>(command, SIGKILL);
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  lock.lock();
  pool::log(pool::LogLevel::info, "host {}: started {}", link.host.name, quote(command));
  link.command = std::move(command);
  link.reader = FrameReader(marker_of(token));
  link.token = std::move(token);
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
        lose(link, fmt::format("its agent did not speak within start_timeout ({} ms): is the program there linked to yoke, and does "
                               "the launcher pass on its stdin and stdout?", options_.start_timeout.count()), lock);
      continue;
    }
    if (link.phase == LinkPhase::stopping && now >= link.acts_at) {
      end(link, lock);
    } else if (now - link.heard >= options_.lease) {
      lose(link, fmt::format("nothing was heard of it for the time of the lease ({} ms)", options_.lease.count()), lock);
    } else if (now >= link.beats_at) {
      link.batch.push_to(link.queue, FrameType::tasks);
      drop_blocks(link);
      link.queue.push(FrameType::heartbeat, {});
      link.beats_at = now + options_.heartbeat;
    }
  }
}

/// What is known of the end of a launcher, or of an agent that speaks no sense.
std::string Fleet::why_it_ended(Link& link, const std::string& why) {
  std::string text = fmt::format("host {}: {}", link.host.name, why);
  if (link.carrier) {
    const auto status = link.carrier->try_reap();
    text += fmt::format("\n  {}: {}", quote(link.command), status ? "ended with " + describe(*status) : "killed");
  }
  std::string said = last_lines(link.errors);
  if (!link.reader.marker_seen() && said.empty()) said = last_lines(link.reader.banner());
  return text + said;
}

/// A link that is of no use any more: its tasks go elsewhere or fail, and it is tried again if it has served.
void Fleet::lose(Link& link, const std::string& why, Lock& lock) {
  const bool served = link.phase == LinkPhase::serving || link.phase == LinkPhase::stopping || link.lost;
  const bool has_served = link.phase == LinkPhase::serving;
  link.phase = LinkPhase::waiting;
  link.acts_at = Clock::time_point::max();
  std::unique_ptr<Carrier> carrier = std::move(link.carrier);
  if (carrier) {
    lock.unlock();
    carrier->close_to();
    carrier->reap(Clock::now() + last_words);
    lock.lock();
    link.carrier = std::move(carrier);
    while (link.carrier->errors() >= 0) {
      const std::size_t before = link.errors.size();
      read_errors(link);
      if (link.carrier->errors() < 0 || link.errors.size() == before) break;
    }
  }
  link.trouble = why_it_ended(link, why);
  carrier = std::move(link.carrier);
  pool::log(pool::LogLevel::info, "{}", link.trouble);

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

  const auto now = Clock::now();
  if (has_served) {
    link.lost = now;
    link.tries = 0;
  }
  const bool node_is_gone = link.index >= options_.hosts.size() && slurm_->phase() != SlurmJob::Phase::granted;
  if (!served || !link.lost || link.hopeless || node_is_gone || now - *link.lost >= options_.reconnect_for) {
    give_up(link);
  } else {
    link.acts_at = now + std::min<Clock::duration>(longest_pause, first_pause * (1 << std::min(link.tries, 6)));
    ++link.tries;
  }
  changed_.notify_all();
  if (!carrier) return;
  lock.unlock();
  carrier.reset();
  lock.lock();
}

/// Of no use for good. With no other host left the pool cannot go on.
void Fleet::give_up(Link& link) {
  link.phase = LinkPhase::ended;
  if (broken_ || killing_) return;
  const bool slurm_may_come = options_.slurm && (!slurm_ || slurm_->phase() == SlurmJob::Phase::requesting);
  const bool others = slurm_may_come || std::ranges::any_of(links_, [](const auto& other) { return other->may_serve(); });
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

void Fleet::end(Link& link, Lock& lock) {
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
