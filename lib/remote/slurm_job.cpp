#include "lib/remote/slurm_job.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <sstream>

#include "lib/remote/agent_command.hpp"

namespace yoke::remote {
namespace {

constexpr std::chrono::milliseconds exit_look{100};  // for the end of a command that has closed its streams

std::vector<std::string> request(const SlurmOptions& options) {
  std::vector<std::string> command{"salloc", "--no-shell", "--no-kill", fmt::format("--nodes={}", options.nodes),
                                   "--job-name=yoke"};
  if (!options.partition.empty()) command.push_back("--partition=" + options.partition);
  command.insert(command.end(), options.arguments.begin(), options.arguments.end());
  return command;
}

/// "salloc: Granted job allocation 42", among other lines.
std::string job_in(const std::string& text) {
  constexpr std::string_view words = "Granted job allocation ";
  const std::size_t at = text.find(words);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + words.size();
  return text.substr(begin, text.find_first_not_of("0123456789", begin) - begin);
}

}  // namespace

// Its own signal to end: salloc then takes the request back. Killed, it would leave it in the queue.
SlurmJob::SlurmJob(const SlurmOptions& options)
    : options_(options), errand_(std::make_unique<Errand>(request(options), SIGTERM)) {}

void SlurmJob::add_to(std::vector<pollfd>& looks) const {
  if (errand_) errand_->add_to(looks);
}

Clock::time_point SlurmJob::next_look() const {
  if (!errand_) return Clock::time_point::max();
  return Clock::now() + exit_look;
}

void SlurmJob::fail(const std::string& what) {
  phase_ = Phase::failed;
  trouble_ = what;
  if (errand_ && !errand_->errors().empty()) trouble_ += "\n" + errand_->errors();
  errand_.reset();
}

void SlurmJob::proceed() {
  if (!errand_) return;
  const auto status = errand_->proceed();
  if (!status) {
    if (phase_ == Phase::requesting && options_.queue_timeout && Clock::now() - begun_ >= *options_.queue_timeout) {
      errand_->signal(SIGTERM);
      errand_->proceed();
      fail(fmt::format("Slurm granted no nodes within queue_timeout ({} s): {}", options_.queue_timeout->count(),
                       errand_->command()));
    }
    return;
  }
  const auto* exited = std::get_if<system::Exited>(&*status);
  const bool well = exited && exited->code == 0;
  if (phase_ == Phase::cancelling) {
    // The request may have been granted at the last moment.
    const bool granted_late = job_.empty() && !(job_ = job_in(errand_->errors())).empty();
    errand_.reset();
    phase_ = Phase::ended;
    if (!granted_late) return;
    errand_ = std::make_unique<Errand>(std::vector<std::string>{"scancel", job_}, SIGKILL);
    phase_ = Phase::cancelling;
  } else if (phase_ == Phase::requesting) {
    job_ = job_in(errand_->errors());
    if (!well || job_.empty())
      return fail(fmt::format("Slurm granted no nodes: {} ended with {}", errand_->command(), describe(*status)));
    phase_ = Phase::listing;
    errand_ = std::make_unique<Errand>(
        std::vector<std::string>{"sh", "-c", "scontrol show hostnames \"$(squeue --noheader --jobs=\"$1\" --format=%N)\"", "sh", job_},
        SIGKILL);
  } else if (phase_ == Phase::listing) {
    std::istringstream lines(errand_->output());
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) nodes_.push_back(line);
    if (!well || nodes_.empty())
      return fail(fmt::format("the nodes of Slurm job {} cannot be told: {} ended with {}", job_, errand_->command(),
                              describe(*status)));
    phase_ = Phase::granted;
    errand_.reset();
  }
}

void SlurmJob::cancel() {
  if (phase_ == Phase::cancelling || phase_ == Phase::ended) return;
  if (phase_ == Phase::requesting && errand_) {
    errand_->signal(SIGTERM);
    phase_ = Phase::cancelling;
    return;
  }
  errand_.reset();
  phase_ = job_.empty() ? Phase::ended : Phase::cancelling;
  if (!job_.empty()) errand_ = std::make_unique<Errand>(std::vector<std::string>{"scancel", job_}, SIGKILL);
}

Launcher SlurmJob::launcher() const {
  return {"srun", "--jobid=" + job_, "--quiet", "--unbuffered", "--overlap", "--nodes=1", "--ntasks=1", "--nodelist={host}", "{agent}"};
}

std::vector<std::string> SlurmJob::farewell() const { return {"scancel", job_}; }

}  // namespace yoke::remote
