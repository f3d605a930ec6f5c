#include "lib/remote/carrier.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "lib/system/environment.hpp"
#include "lib/system/launcher.hpp"
#include "lib/system/rights.hpp"

namespace yoke::remote {
namespace {

constexpr int pipe_bytes = 1 << 20;
constexpr std::chrono::seconds reap_patience{1};

struct Pipe {
  system::UniqueFd read_end, write_end;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category(), "pipe");
    read_end = system::UniqueFd(ends[0]);
    write_end = system::UniqueFd(ends[1]);
    read_end = system::above_stdio(std::move(read_end));
    write_end = system::above_stdio(std::move(write_end));
    ::fcntl(write_end.get(), F_SETPIPE_SZ, pipe_bytes);  // as far as the system lets it
  }
};

void set_nonblocking(const system::UniqueFd& fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

/// As a shell finds it.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const auto value = system::outranks_caller() ? std::nullopt : system::variable("PATH");
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

Carrier::Carrier(const std::vector<std::string>& command, int death_signal, const std::vector<std::string>& unset) {
  if (command.empty()) throw std::system_error(EINVAL, std::system_category(), "the launcher's command is empty");
  Pipe to, from, errors;
  system::LaunchSpec spec;
  spec.path = find_program(command.front());
  spec.arguments = command;
  spec.environment = system::child_environment({}, unset);
  spec.stdio = {to.read_end.get(), from.write_end.get(), errors.write_end.get()};
  spec.death_signal = death_signal;
  process_ = system::launch(spec);
  to_ = std::move(to.write_end);
  from_ = std::move(from.read_end);
  errors_ = std::move(errors.read_end);
  set_nonblocking(to_);
  set_nonblocking(from_);
  set_nonblocking(errors_);
}

Carrier::~Carrier() {
  kill();
  try {
    reap(Clock::now() + reap_patience);
  } catch (const std::exception&) {
    // a process that cannot be reaped now stays behind as the system's
  }
}

void Carrier::kill() noexcept { process_.signal_group(SIGKILL); }

std::string describe(const system::ExitStatus& status) {
  if (const auto* exited = std::get_if<system::Exited>(&status)) return fmt::format("exit code {}", exited->code);
  if (const auto* signaled = std::get_if<system::Signaled>(&status)) {
    const char* name = ::sigabbrev_np(signaled->signal);
    return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", signaled->signal);
  }
  return "an exit status that something else took";
}

}  // namespace yoke::remote
