// Starting agents, and losing them.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>
#include <system_error>

#include "lib/pool/failure.hpp"
#include "lib/pool/log.hpp"
#include "lib/pool/retries.hpp"
#include "lib/remote/agent_command.hpp"
#include "lib/remote/fleet.hpp"
#include "lib/system/modules.hpp"

namespace yoke::remote {

using namespace protocol;

namespace {

using Milliseconds = std::chrono::milliseconds;

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

std::string own_path() { return path_of_program(system::main_module().path); }

}  // namespace

/// Makes a host of each node, once there are some.
void Fleet::follow_slurm() {
  if (!options_.slurm) return;
  if (!slurm_) {
    if (admission_.closed() && backlog_.empty()) return;
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
    for (const SlurmJob::Node& node : slurm_->nodes())
      links_.push_back(std::make_unique<Link>(links_.size(), Host{node.name, slurm_->launcher(), {}}, node.processors));
  if (slurm_->phase() == SlurmJob::Phase::failed && (!any_is_hopeful() || options_.require_all_hosts))
    break_pool(slurm_->trouble());
  changed_.notify_all();
}

void Fleet::beat(Clock::time_point now) {
  for (const auto& link : links_) link->beat(now, options_.heartbeat);
}

/// Whether there is nothing to do any more, and nothing will come.
bool Fleet::is_to_end() {
  return admission_.gives_up() || (admission_.closed() && backlog_.empty() &&
                                   std::ranges::all_of(links_, [](const auto& link) { return link->tasks().empty(); }));
}

/// Agents that serve; the others are ended, one by one.
void Fleet::ask_to_stop(Clock::time_point now) {
  if (!is_to_end()) return;
  for (const auto& link : links_)
    if (link->serves()) link->stop(admission_.gives_up(), now + options_.worker.kill_grace + farewell_patience);
  if (!slurm_ || std::ranges::any_of(links_, [](const auto& link) { return link->phase() != LinkPhase::ended; }))
    return;
  try {
    slurm_->cancel();
  } catch (const std::exception& error) {
    pool::log(pool::LogLevel::info, "the Slurm job cannot be cancelled: {}", error.what());
    slurm_.reset();
  }
}

bool Fleet::needs_agents() { return !admission_.gives_up() && (!admission_.closed() || !backlog_.empty()); }

NextStart Fleet::next_to_start(Clock::time_point now) const {
  std::vector<StartView> views;
  for (const auto& link : links_) views.push_back(link->start_view());
  return next_start(views, now);
}

std::string Fleet::why_overdue(const Link& link, Link::Overdue what) const {
  if (what == Link::Overdue::first_word)
    return fmt::format(
        "its agent did not speak within {} ms{}: is the program there linked to yoke, and does the launcher pass on "
        "its "
        "stdin and stdout?",
        std::chrono::ceil<Milliseconds>(link.patience()).count(),
        link.patience() == options_.start_timeout ? " (start_timeout)" : "");
  return fmt::format("nothing was heard of it for {} ms, longer than the lease ({} ms) allows", silence_.count(),
                     options_.lease.count());
}

Fleet::Step Fleet::next_step(Clock::time_point now) {
  const bool ends = is_to_end();
  for (const auto& link : links_) {
    const Link::Overdue overdue = link->overdue(now, silence_);
    if (overdue == Link::Overdue::farewell) return {Step::Kind::end, link.get()};
    if (overdue != Link::Overdue::nothing) return {Step::Kind::lose, link.get(), why_overdue(*link, overdue)};
    if (ends && (link->phase() == LinkPhase::starting || link->phase() == LinkPhase::waiting))
      return {Step::Kind::end, link.get()};
  }
  if (needs_agents())
    if (const auto host = next_to_start(now).host) return {Step::Kind::start, links_[*host].get()};
  return {};
}

void Fleet::carry_out(const Step& step) {
  switch (step.kind) {
    case Step::Kind::none: return;
    case Step::Kind::start: return start(*step.link);
    case Step::Kind::lose: return lose(*step.link, step.why);
    case Step::Kind::end: return end(*step.link);
  }
}

/// What an agent is started by there. Reads files.
std::vector<std::string> Fleet::command_for(const Link& link, const std::string& token) {
  if (options_.deploy && !deployment_) deployment_ = make_deployment();
  const auto agent = deployment_ ? deploying_command(*deployment_, token)
                                 : agent_command(options_.program.empty() ? own_path() : options_.program, token);
  Launcher launcher = link.host().launcher.empty() ? options_.launcher : link.host().launcher;
  for (const std::string& option : unknown_options_) leave_out(launcher, option);
  return fill_in(launcher, link.host().name, agent);
}

void Fleet::start(Link& link) {
  {
    const Lock lock(mutex_);
    link.start(Clock::now(), options_.start_timeout);
  }
  // What an agent sends of any length is results and the failures of tasks.
  constexpr std::size_t failure_text = std::size_t{1} << 20;
  Link::Started started;
  if (const auto& most = options_.worker.max_result) started.most_payload = std::max<std::size_t>(*most, failure_text);
  started.may_need_program = options_.deploy;
  const bool of_slurm = link.index() >= options_.hosts.size();
  std::string trouble;
  bool hopeless = false;
  try {
    started.token = make_token();
    started.command = command_for(link, started.token);
    started.carrier = std::make_unique<system::PipedProcess>(
        started.command, SIGKILL, of_slurm ? variables_of_outer_step() : bindings_of_outer_step());
  } catch (const std::exception& error) {
    trouble = error.what();
    hopeless = lasts(error);
  }
  const bool runs = started.carrier != nullptr;
  {
    const Lock lock(mutex_);
    pool::log(pool::LogLevel::info, "host {}: started {}", link.host().name, quote(started.command));
    if (hopeless) link.set_hopeless(true);
    link.started(std::move(started));
  }
  if (!runs) lose(link, trouble);
}

/// A link that is of no use any more: its tasks go elsewhere or fail, and it is tried again unless that is useless.
/// `last_words`: for a launcher to end whose stream has. One that hangs gets no time: this thread is all hosts'.
void Fleet::lose(Link& link, const std::string& why, Milliseconds last_words) {
  Link::Loss loss;  // its carrier is destroyed with no lock held
  {
    const Lock lock(mutex_);
    loss = link.let_go();
  }
  if (loss.carrier) link.see_end(loss, Clock::now() + last_words);
  const Lock lock(mutex_);
  link.explain(why, loss);
  pool::log(pool::LogLevel::info, "{}", link.trouble());
  give_back_tasks(link);
  if (link.phase() == LinkPhase::lost) {
    plan_next_start(link, loss);
    look_for_hope(link);
  }
  changed_.notify_all();
}

/// Those of a link that was lost: to the backlog where that is allowed, others fail.
void Fleet::give_back_tasks(Link& link) {
  std::vector<std::pair<TaskNumber, TaskPtr>> again;
  for (auto& [number, sent] : link.take_back()) {
    const TaskPtr& task = sent.task;
    task->pool_word = 0;
    if (task->done()) continue;
    ++task->attempts;
    if (pool::may_try_again(task->attempts, task->options().retries) && !admission_.gives_up()) {
      ++counts_.retried;
      again.emplace_back(number, task);
      continue;
    }
    ++counts_.failed;
    task->resolve(pool::failed(std::make_shared<LostHost>(link.host().name, link.trouble(), task->worker_pid())));
  }
  std::ranges::sort(again, [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [number, task] : again) backlog_.push_front(std::move(task));
}

/// Sooner or later, or not at all where it is certain to fail again.
void Fleet::plan_next_start(Link& link, const Link::Loss& loss) {
  const auto now = Clock::now();
  link.record(loss, now);
  Launcher command = link.command();
  if (const std::string unknown = unknown_option(link.errors()); !unknown.empty() && leave_out(command, unknown)) {
    unknown_options_.push_back(unknown);
    return link.try_again_at(now);  // without it
  }
  const bool node_is_gone = link.index() >= options_.hosts.size() && slurm_->phase() != SlurmJob::Phase::granted;
  if (link.is_hopeless() || node_is_gone) {
    const auto none = link.end();
    return;
  }
  link.try_again_at(now + with_jitter(link.next_pause(now, options_.reconnect_for)));
}

/// After a loss: with no host left that serves or may soon, the pool cannot go on.
void Fleet::look_for_hope(const Link& link) {
  if (admission_.gives_up() || is_hopeful(link)) return;
  const bool others = slurm_may_come() || any_is_hopeful();
  if (others && !options_.require_all_hosts) return;
  std::string text = others ? "a host cannot be used, and require_all_hosts is set:" : "no host can be used:";
  for (const char* separator = " "; const auto& other : links_)
    if (!other->trouble().empty()) text += std::exchange(separator, "\n") + other->trouble();
  if (slurm_ && !slurm_->trouble().empty()) text += "\n" + slurm_->trouble();
  break_pool(text);
}

/// For good. `last_words`: as of lose.
void Fleet::end(Link& link, Milliseconds last_words) {
  std::unique_ptr<system::PipedProcess> carrier;
  {
    const Lock lock(mutex_);
    carrier = link.end();
  }
  if (!carrier) return;
  carrier->close_to();
  carrier->reap(Clock::now() + last_words);  // a launcher that ends by itself takes leave of its server
}

}  // namespace yoke::remote
