#include "lib/remote/slurm_job.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>
#include <string_view>

#include "lib/pool/log.hpp"
#include "lib/remote/agent_command.hpp"
#include "lib/wire/printable.hpp"

namespace yoke::remote {
namespace {

constexpr std::chrono::milliseconds exit_look{100};  // for the end of a command that has closed its streams
constexpr std::chrono::seconds release_patience{10};

/// Tells the job, how many processors it has on each node, and the nodes, one a line, and then a dot. Waits for the end
/// of its stdin, and ends the job where salloc was killed, which would have done so: one that lives may loop for ever
/// when its job is ended under it.
constexpr char tell_and_last[] =
    "echo \"$SLURM_JOB_ID\" && echo \"$SLURM_JOB_CPUS_PER_NODE\" && scontrol show hostnames \"$SLURM_JOB_NODELIST\" && "
    "echo . && "
    "cat >/dev/null; kill -0 $PPID 2>/dev/null || scancel \"$SLURM_JOB_ID\"";

/// Whether these arguments say how much of a node is wanted.
bool sizes_nodes(const std::vector<std::string>& arguments) {
  constexpr std::array beginnings{
      "--exclusive",   "--oversubscribe", "--share",           "--cpus-per", "--ntasks", "--mincpus", "--cores-per",
      "--sockets-per", "--threads-per",   "--extra-node-info", "-c",         "-n",       "-s",        "-B"};
  return std::ranges::any_of(arguments, [&](const std::string& argument) {
    return std::ranges::any_of(beginnings, [&](const char* beginning) { return argument.starts_with(beginning); });
  });
}

/// Whole nodes, unless the user asks for less: by default Slurm gives one processor of each.
std::vector<std::string> request(const SlurmOptions& options) {
  std::vector<std::string> command{"salloc", "--no-kill", fmt::format("--nodes={}", options.nodes), "--job-name=yoke"};
  if (!sizes_nodes(options.arguments)) command.push_back("--exclusive");
  if (!options.partition.empty()) command.push_back("--partition=" + options.partition);
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  command.insert(command.end(), {"sh", "-c", tell_and_last});
  return command;
}

/// "2(x3),1": 2, 2, 2, 1.
std::vector<int> parse_processors(const std::string& text) {
  std::vector<int> counts;
  std::istringstream in(text);
  for (int count = 0; in >> count;) {
    int times = 1;
    if (in.peek() == '(' && !(in.ignore(2) >> times && in.ignore(1))) break;
    counts.insert(counts.end(), static_cast<std::size_t>(std::clamp(times, 0, 100'000)), count);
    if (in.peek() != ',') break;
    in.ignore(1);
  }
  return counts;
}

/// That salloc has told: "salloc: Pending job allocation 7". Empty: it has not.
std::string number_in(const std::string& words) {
  constexpr std::string_view before = " job allocation ";
  const std::size_t at = words.find(before);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + before.size();
  return words.substr(begin, words.find_first_not_of("0123456789", begin) - begin);
}

std::vector<std::string> variables_that(const std::function<bool(std::string_view)>& wanted) {
  std::vector<std::string> names;
  for (char** variable = environ; variable && *variable; ++variable) {
    const std::string_view text(*variable);
    if (const auto name = text.substr(0, text.find('=')); wanted(name)) names.emplace_back(name);
  }
  return names;
}

}  // namespace

std::vector<std::string> variables_of_outer_step() {
  constexpr std::array<std::string_view, 4> kept{"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_CLUSTERS"};
  return variables_that([&](std::string_view name) {
    return (name.starts_with("SLURM_") || name.starts_with("SLURMD_") || name.starts_with("SRUN_")) &&
           std::ranges::find(kept, name) == kept.end();
  });
}

std::vector<std::string> bindings_of_outer_step() {
  return variables_that(
      [](std::string_view name) { return name.starts_with("SLURM_CPU_BIND") || name.starts_with("SLURM_MEM_BIND"); });
}

// No signal when this process dies: a salloc that is killed leaves its request or its job behind. The end of its stdin
// ends the job; a request that still waits then ends as soon as it is granted.
SlurmJob::SlurmJob(const SlurmOptions& options)
    : options_(options),
      command_(std::make_unique<system::CapturedCommand>(request(options), 0, variables_of_outer_step())) {}

void SlurmJob::add_to(system::Poller& poller) const {
  if (command_) command_->add_to(poller);
  if (scancel_) scancel_->add_to(poller);
}

Clock::time_point SlurmJob::next_look() const {
  if (scancel_) return Clock::now() + exit_look;
  if (!command_ || phase_ == Phase::granted) return Clock::time_point::max();  // its streams end with it
  return Clock::now() + exit_look;
}

std::string SlurmJob::said() const {
  return wire::printable(command_->errors(), wire::Lines::several, wire::most_text);
}

void SlurmJob::fail(const std::string& what) {
  phase_ = Phase::failed;
  trouble_ = fmt::format("{}: {}", what, quote(command_->command()));
  if (const std::string words = said(); !words.empty()) trouble_ += "\n" + words;
}

void SlurmJob::proceed() {
  if (scancel_ && (scancel_->proceed() || Clock::now() >= killed_at_)) scancel_.reset();
  if (command_) listen();
  if (phase_ == Phase::cancelling && !command_ && !scancel_) phase_ = Phase::ended;
}

void SlurmJob::listen() {
  const auto now = Clock::now();
  if (const auto status = command_->proceed()) return take_end(*status);
  if (now >= killed_at_) {
    cancel_by_number();
    command_.reset();  // kills it
  } else if (phase_ == Phase::requesting && command_->output().ends_with("\n.\n")) {
    take_nodes(command_->output());
  } else if (phase_ == Phase::requesting && options_.queue_timeout && now - begun_ >= *options_.queue_timeout) {
    fail(fmt::format("Slurm granted no nodes within queue_timeout ({} s)", options_.queue_timeout->count()));
    release();
  }
}

void SlurmJob::take_nodes(const std::string& words) {
  std::istringstream lines(words);
  std::string processors;
  std::getline(lines, job_);
  std::getline(lines, processors);
  const auto counts = parse_processors(processors);
  for (std::string name; std::getline(lines, name) && name != ".";)
    nodes_.push_back({name, nodes_.size() < counts.size() ? std::optional(counts[nodes_.size()]) : std::nullopt});
  phase_ = Phase::granted;
}

/// Of salloc. One that was killed did not give the job back.
void SlurmJob::take_end(const system::ExitStatus& status) {
  const bool killed = std::holds_alternative<system::Signaled>(status);
  if (phase_ == Phase::granted && killed) return;  // until cancel()
  if (killed) cancel_by_number();
  if (phase_ == Phase::requesting) fail("Slurm granted no nodes: ended with " + system::describe(status));
  if (phase_ == Phase::granted) fail(fmt::format("Slurm has taken the nodes of job {} away", job_));
  command_.reset();
}

void SlurmJob::cancel_by_number() {
  if (job_.empty()) job_ = number_in(command_->errors());
  if (job_.empty()) return;
  try {
    scancel_ = std::make_unique<system::CapturedCommand>(std::vector<std::string>{"scancel", job_}, 0,
                                                         variables_of_outer_step());
    killed_at_ = Clock::now() + release_patience;
  } catch (const std::exception& error) {
    pool::log(pool::LogLevel::info, "Slurm job {} cannot be cancelled: {}", job_, error.what());
  }
}

/// A request is taken back by a signal; where nodes were granted, salloc 22.05 may loop for ever after one.
void SlurmJob::release() {
  command_->close_input();
  if (nodes_.empty()) command_->signal(SIGTERM);
  killed_at_ = Clock::now() + release_patience;
}

void SlurmJob::cancel() {
  if (phase_ == Phase::cancelling || phase_ == Phase::ended) return;
  phase_ = command_ || scancel_ ? Phase::cancelling : Phase::ended;
  if (command_) release();
}

Launcher SlurmJob::launcher() const {
  return {"srun",      "--jobid=" + job_, "--quiet",           "--unbuffered", "--overlap", "--cpu-bind=none",
          "--nodes=1", "--ntasks=1",      "--nodelist={host}", "{agent}"};  // one task would be bound to one processor
}

}  // namespace yoke::remote
