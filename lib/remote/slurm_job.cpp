#include "lib/remote/slurm_job.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <sstream>

#include "lib/remote/agent_command.hpp"
#include "lib/wire/printable.hpp"

namespace yoke::remote {
namespace {

constexpr std::chrono::milliseconds exit_look{100};  // for the end of a command that has closed its streams
constexpr std::chrono::seconds release_patience{10};

/// Tells the job and its nodes, one a line, and then a dot; waits for the end of its stdin.
constexpr char tell_and_last[] =
    "echo \"$SLURM_JOB_ID\" && scontrol show hostnames \"$SLURM_JOB_NODELIST\" && echo . && exec cat >/dev/null";

std::vector<std::string> request(const SlurmOptions& options) {
  std::vector<std::string> command{"salloc", "--no-kill", fmt::format("--nodes={}", options.nodes), "--job-name=yoke"};
  if (!options.partition.empty()) command.push_back("--partition=" + options.partition);
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  command.insert(command.end(), {"sh", "-c", tell_and_last});
  return command;
}

}  // namespace

// No signal when this process dies: a salloc that is killed leaves its request or its job behind. The end of its stdin ends the
// job; a request that still waits then ends as soon as it is granted.
SlurmJob::SlurmJob(const SlurmOptions& options) : options_(options), errand_(std::make_unique<Errand>(request(options), 0)) {}

void SlurmJob::add_to(std::vector<pollfd>& looks) const {
  if (errand_) errand_->add_to(looks);
}

Clock::time_point SlurmJob::next_look() const {
  if (!errand_) return Clock::time_point::max();
  if (phase_ == Phase::granted) return Clock::time_point::max();  // its streams end with it
  return Clock::now() + exit_look;
}

std::string SlurmJob::said() const { return wire::printable(errand_->errors(), wire::Lines::several, wire::most_text); }

void SlurmJob::fail(const std::string& what) {
  phase_ = Phase::failed;
  trouble_ = fmt::format("{}: {}", what, errand_->command());
  if (const std::string words = said(); !words.empty()) trouble_ += "\n" + words;
}

void SlurmJob::proceed() {
  if (!errand_) return;
  const auto now = Clock::now();
  const auto status = errand_->proceed();
  if (now >= killed_at_) errand_.reset();  // kills it
  if (!status && errand_) {
    if (phase_ != Phase::requesting) return;
    std::istringstream lines(errand_->output());
    std::vector<std::string> words;
    for (std::string line; std::getline(lines, line);) words.push_back(line);
    if (!words.empty() && words.back() == "." && words.size() > 2) {
      job_ = words.front();
      nodes_.assign(words.begin() + 1, words.end() - 1);
      phase_ = Phase::granted;
    } else if (options_.queue_timeout && now - begun_ >= *options_.queue_timeout) {
      fail(fmt::format("Slurm granted no nodes within queue_timeout ({} s)", options_.queue_timeout->count()));
      release();
    }
    return;
  }
  if (phase_ == Phase::requesting) fail("Slurm granted no nodes: ended with " + describe(*status));
  if (phase_ == Phase::granted) fail(fmt::format("Slurm has taken the nodes of job {} away", job_));
  if (phase_ == Phase::cancelling) phase_ = Phase::ended;
  errand_.reset();
}

/// A request is taken back by a signal; where nodes were granted, salloc 22.05 may loop for ever after one.
void SlurmJob::release() {
  errand_->close_input();
  if (nodes_.empty()) errand_->signal(SIGTERM);
  killed_at_ = Clock::now() + release_patience;
}

void SlurmJob::cancel() {
  if (phase_ == Phase::cancelling || phase_ == Phase::ended) return;
  phase_ = errand_ ? Phase::cancelling : Phase::ended;
  if (errand_) release();
}

Launcher SlurmJob::launcher() const {
  return {"srun", "--jobid=" + job_, "--quiet", "--unbuffered", "--overlap", "--nodes=1", "--ntasks=1", "--nodelist={host}", "{agent}"};
}

}  // namespace yoke::remote
