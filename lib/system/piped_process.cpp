#include "lib/system/piped_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "lib/system/environment.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/pipe.hpp"
#include "lib/system/rights.hpp"

namespace yoke::system {
namespace {

constexpr int pipe_bytes = 1 << 20;
constexpr std::chrono::seconds reap_patience{1};

/// As wide as the system lets it be.
Pipe wide_pipe() {
  Pipe pipe = make_pipe();
  ::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, pipe_bytes);
  return pipe;
}

/// As a shell finds it.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const auto value = outranks_caller() ? std::nullopt : variable("PATH");
  const std::string path = value.value_or("/usr/local/bin:/usr/bin:/bin");
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder = path.substr(begin, end - begin);
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    begin = end + 1;
  }
  throw std::system_error(ENOENT, std::system_category(), fmt::format("there is no program '{}' in PATH", name));
}

}  // namespace

PipedProcess::PipedProcess(const std::vector<std::string>& command, int death_signal,
                           const std::vector<std::string>& unset) {
  if (command.empty()) throw std::system_error(EINVAL, std::system_category(), "the launcher's command is empty");
  Pipe to = wide_pipe(), from = wide_pipe(), errors = wide_pipe();
  LaunchSpec spec;
  spec.path = find_program(command.front());
  spec.arguments = command;
  spec.environment = child_environment({}, unset);
  spec.stdio = {to.read_end.get(), from.write_end.get(), errors.write_end.get()};
  spec.death_signal = death_signal;
  process_ = launch(spec);
  to_ = std::move(to.write_end);
  from_ = std::move(from.read_end);
  errors_ = std::move(errors.read_end);
  set_nonblocking(to_);
  set_nonblocking(from_);
  set_nonblocking(errors_);
}

PipedProcess::~PipedProcess() {
  kill();
  try {
    reap(Clock::now() + reap_patience);
  } catch (const std::exception&) {
    // a process that cannot be reaped now stays behind as the system's
  }
}

void PipedProcess::kill() noexcept { process_.signal_group(SIGKILL); }

}  // namespace yoke::system
