// The one place that knows Boost.Process, and the steps of a worker between vfork and exec.
//
// The vfork child runs in the parent's memory and on its thread's stack, while that thread waits: it must not change
// anything there that the parent will miss. ThreadSanitizer and Valgrind make a plain fork of it; so what failed in the
// child comes back through a pipe and not through memory.
#include "lib/system/launcher.hpp"

#define BOOST_POSIX_HAS_VFORK 1  // 1.74 declares use_vfork and leaves out its code without this
#include <boost/version.hpp>
#if BOOST_VERSION >= 108800
#include <boost/process/v1/child.hpp>
#include <boost/process/v1/error.hpp>
#include <boost/process/v1/extend.hpp>
#include <boost/process/v1/posix.hpp>
namespace process = boost::process::v1;
#else
#include <boost/process/child.hpp>
#include <boost/process/error.hpp>
#include <boost/process/extend.hpp>
#include <boost/process/posix.hpp>
namespace process = boost::process;
#endif

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "lib/system/environment.hpp"
#include "lib/system/main_thread_state.hpp"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace yoke::system {
namespace {

constexpr unsigned close_range_cloexec = 1U << 2;  // CLOSE_RANGE_CLOEXEC, Linux 5.11
constexpr std::size_t kernel_sigset_size = 8;
#ifdef SYS_setresuid32  // the plain ones take 16 bits there
constexpr long setresuid_number = SYS_setresuid32, setresgid_number = SYS_setresgid32;
#else
constexpr long setresuid_number = SYS_setresuid, setresgid_number = SYS_setresgid;
#endif

[[noreturn]] void throw_errno(int error, const char* what) {
  throw std::system_error(error, std::system_category(), what);
}

enum class Step {
  rights,
  signals,
  process_group,
  as_program,
  death_signal,
  stdio,
  limits,
  close_on_exec,
  keep_descriptor,
  exec
};

const char* describe(Step step) {
  switch (step) {
    case Step::rights: return "launch: giving the worker the effective user and group alone";
    case Step::signals: return "launch: setting the worker's signals";
    case Step::process_group: return "launch: making the worker's process group";
    case Step::as_program: return "launch: giving up what the program's main thread has given up";
    case Step::death_signal: return "launch: asking for a signal when the parent dies";
    case Step::stdio: return "launch: opening stdin, stdout and stderr of the child";
    case Step::limits: return "launch: setting the worker's resource limits";
    case Step::close_on_exec: return "launch: closing the parent's descriptors in the worker";
    case Step::keep_descriptor: return "launch: keeping a descriptor open in the worker";
    case Step::exec: return "launch: exec of the worker's program";
  }
  return "launch";
}

struct Failure {
  Step step;
  int error;
};

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;

  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw_errno(errno, "launch: pipe");
    read_end = UniqueFd(ends[0]);
    write_end = UniqueFd(ends[1]);
    read_end = above_stdio(std::move(read_end));
    write_end = above_stdio(std::move(write_end));
  }
};

// The parent's handlers must not run in the child, on the parent's memory; and the child must not act on a cancellation
// that was meant for the parent's thread, whose thread block it shares.
class Undisturbed {
 public:
  Undisturbed() noexcept {
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &mask_);
  }
  ~Undisturbed() {
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
    ::pthread_setcancelstate(cancel_state_, nullptr);
  }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  sigset_t mask_;
  int cancel_state_ = 0;
};

// Valgrind runs as the new program and opens the path itself, when the child's own descriptor is closed already.
std::string program_path(int executable_fd) {
  const auto preloaded = variable("LD_PRELOAD");
  const bool in_valgrind = preloaded && preloaded->find("/vgpreload_") != std::string::npos;
  return "/proc/" + (in_valgrind ? std::to_string(::getpid()) : "self") + "/fd/" + std::to_string(executable_fd);
}

// Boost.Process calls on_setup before vfork, and on_exec_setup and on_exec_error in the child.
class ChildSteps : public process::extend::handler {
 public:
  ChildSteps(const LaunchSpec& spec, int report_fd)
      : spec_(spec), report_fd_(report_fd), program_(spec.path.empty() ? program_path(spec.executable_fd) : spec.path) {
    for (const std::string& argument : spec.arguments) arguments_.push_back(const_cast<char*>(argument.c_str()));
    for (const std::string& variable : spec.environment) environment_.push_back(const_cast<char*>(variable.c_str()));
    arguments_.push_back(nullptr);
    environment_.push_back(nullptr);
  }

  // True if the child wrote to this object: vfork it was, and the child has gone on to exec or has ended.
  [[nodiscard]] bool shared_memory() const { return ran_here_; }
  [[nodiscard]] int fork_error() const { return fork_error_; }

  template <class Executor>
  void on_setup(Executor& executor) {
    executor.exe = program_.c_str();
    executor.cmd_line = arguments_.data();
    executor.env = environment_.data();
  }

  template <class Executor>
  void on_fork_error(Executor&, const std::error_code& error) {
    fork_error_ = error.value();
  }

  template <class Executor>
  void on_exec_setup(Executor&) {
    ran_here_ = true;
    keep_effective_ids();
    reset_dispositions();
    if (::setpgid(0, 0) != 0) fail(Step::process_group);
    leave_terminal();
    if (!as_program_.apply()) fail(Step::as_program);
    die_with_parent();
    open_stdio();
    set_limits();
    if (spec_.no_new_privileges) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);  // Linux 3.5
    close_on_exec();
    for (const int fd : spec_.keep_fds) {
      if (::fcntl(fd, F_SETFD, 0) != 0) fail(Step::keep_descriptor);
    }
    // Last, when no handler of the parent's can run any more.
    std::uint64_t none = 0;
    if (::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kernel_sigset_size) != 0) fail(Step::signals);
  }

  template <class Executor>
  void on_exec_error(Executor&, const std::error_code& error) {
    fail(Step::exec, error.value());
  }

 private:
  [[noreturn]] void fail(Step step, int error = errno) const {
    const Failure failure{step, error};
    [[maybe_unused]] const ssize_t written = ::write(report_fd_, &failure, sizeof failure);
    ::_exit(EXIT_FAILURE);
  }

  // Else exec would make it a program with rights beyond its caller's, which heeds no environment (rights.hpp). By the
  // system call, since libc's function changes the ids of the parent's threads.
  void keep_effective_ids() const {
    const uid_t user = ::geteuid();
    const gid_t group = ::getegid();
    if (::getgid() != group && ::syscall(setresgid_number, group, group, group) != 0) fail(Step::rights);
    if (::getuid() != user && ::syscall(setresuid_number, user, user, user) != 0) fail(Step::rights);
  }

  // exec makes default what was handled, but keeps what was ignored. By the system call, since libc's function may take
  // a lock, and a sanitizer's keeps a table, in memory that is the parent's.
  void reset_dispositions() const {
    struct KernelAction {
      std::uintptr_t handler;
      unsigned long flags;
      std::uintptr_t restorer;
      std::uint64_t mask;
    };
    for (int signal = 1; signal <= 64; ++signal) {
      if (signal == SIGKILL || signal == SIGSTOP) continue;
      const KernelAction action{signal == SIGINT ? std::uintptr_t{1} : std::uintptr_t{0}, 0, 0, 0};
      if (::syscall(SYS_rt_sigaction, signal, &action, nullptr, kernel_sigset_size) != 0) fail(Step::signals);
    }
  }

  // The program's terminal has it in the background, and the kernel would stop it, or what a task starts, for a word
  // under `stty tostop` or a look at /dev/tty, and nobody would see why. Who has no controlling terminal is never
  // stopped by one. Not by setsid: each session is a scheduling group of its own (sched(7), autogroup), where niceness
  // counts for nothing.
  void leave_terminal() const {
    const int terminal = ::open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    ::ioctl(terminal, TIOCNOTTY);
    if (terminal >= 0) ::close(terminal);
    for (int number = 0; terminal < 0 && number < 3; ++number) ::ioctl(number, TIOCNOTTY);  // without a /dev, say
  }

  void die_with_parent() const {
    if (::prctl(PR_SET_PDEATHSIG, spec_.death_signal) != 0) fail(Step::death_signal);
    // If the parent died before that, no signal will come.
    if (::getppid() != parent_) ::_exit(EXIT_FAILURE);
  }

  void open_stdio() const {
    for (int number = 0; number < 3; ++number) {
      int source = spec_.stdio[static_cast<std::size_t>(number)];
      if (source < 0 && number == STDIN_FILENO) source = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      if (source < 0 && number != STDIN_FILENO) continue;
      if (source < 0 || ::dup2(source, number) < 0) fail(Step::stdio);
      // If stdin was closed, /dev/null got its number at once, and dup2 left the flag as it was.
      if (::fcntl(number, F_SETFD, 0) != 0) fail(Step::stdio);
    }
  }

  void set_limits() const {
    for (const ResourceLimit& limit : spec_.limits) {
      const auto resource = static_cast<unsigned>(limit.resource);
      rlimit current{};
      if (::syscall(SYS_prlimit64, 0, resource, nullptr, &current) != 0) fail(Step::limits);
      const rlim_t value = std::min(limit.value, current.rlim_max);
      const rlimit wanted{value, value};
      if (::syscall(SYS_prlimit64, 0, resource, &wanted, nullptr) != 0) fail(Step::limits);
    }
  }

  void close_on_exec() const {
    if (::syscall(SYS_close_range, 3, ~0U, close_range_cloexec) == 0) return;
    // Linux before 5.11, or a seccomp filter. RLIMIT_NOFILE may be a thousand million in a container, so list the open
    // ones: opendir allocates, getdents64 does not. Setting a flag does not disturb the listing.
    const int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) fail(Step::close_on_exec);
    alignas(dirent64) std::array<char, 1024> buffer;
    for (;;) {
      const long size = ::syscall(SYS_getdents64, directory, buffer.data(), buffer.size());
      if (size < 0) fail(Step::close_on_exec);
      if (size == 0) return;
      for (long at = 0; at < size;) {
        const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
        at += entry->d_reclen;
        int fd = 0;
        for (const char* digit = entry->d_name; *digit >= '0' && *digit <= '9'; ++digit) fd = fd * 10 + (*digit - '0');
        if (fd > STDERR_FILENO && ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) fail(Step::close_on_exec);
      }
    }
  }

  const LaunchSpec& spec_;
  const int report_fd_;
  const pid_t parent_ = ::getpid();
  const MainThreadState as_program_;
  const std::string program_;
  std::vector<char*> arguments_;
  std::vector<char*> environment_;
  volatile bool ran_here_ = false;
  int fork_error_ = 0;
};

void check(const LaunchSpec& spec) {
  const auto is_standard = [](int fd) { return fd <= STDERR_FILENO; };
  const auto holds_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  if (spec.arguments.empty()) throw_errno(EINVAL, "launch: no arguments, not even the program's name");
  const bool is_named = !spec.path.empty();
  const auto is_taken = [&](int fd) { return fd >= 0 && is_standard(fd); };
  if ((!is_named && is_standard(spec.executable_fd)) || std::ranges::any_of(spec.keep_fds, is_standard) ||
      std::ranges::any_of(spec.stdio, is_taken)) {
    throw_errno(EBADF, "launch: a descriptor to hand over is not above stderr's");
  }
  if (std::ranges::any_of(spec.arguments, holds_nul) || std::ranges::any_of(spec.environment, holds_nul)) {
    throw_errno(EINVAL, "launch: an argument or variable holds a NUL character");
  }
}

void reap(pid_t child) noexcept {
  while (::waitpid(child, nullptr, 0) == -1 && errno == EINTR) {
  }
}

}  // namespace

ProcessHandle launch(const LaunchSpec& spec) {
  check(spec);
  Pipe report;
  ChildSteps steps(spec, report.write_end.get());
  pid_t child = -1;
  {
    const Undisturbed undisturbed;
    // ignore_error: Boost's own way of error handling would reap without waiting, and so leave a zombie now and then.
    process::child started(steps, process::posix::use_vfork, process::ignore_error);
    child = started.id();
    started.detach();
  }
  if (steps.fork_error() != 0) throw_errno(steps.fork_error(), "launch: vfork");

  report.write_end.reset();
  if (!steps.shared_memory()) {
    pollfd look{report.read_end.get(), POLLIN, 0};
    while (::poll(&look, 1, -1) == -1 && errno == EINTR) {
    }
  }
  Failure failure{};
  if (::read(report.read_end.get(), &failure, sizeof failure) == sizeof failure) {
    reap(child);
    throw_errno(failure.error, describe(failure.step));
  }
  try {
    return ProcessHandle(child);
  } catch (...) {
    ::kill(child, SIGKILL);
    reap(child);
    throw;
  }
}

}  // namespace yoke::system
