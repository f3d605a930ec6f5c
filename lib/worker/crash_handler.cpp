#include "lib/worker/crash_handler.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <boost/stacktrace/safe_dump_to.hpp>
#include <cstring>
#include <exception>
#include <system_error>

#include "lib/system/symbols.hpp"
#include "lib/wire/throw_place.hpp"

namespace yoke::worker {
namespace {

constexpr int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};

channel::WorkerChannel* crash_channel = nullptr;
struct sigaction former_actions[NSIG];
std::terminate_handler former_terminate = nullptr;
std::atomic<bool> recorded{false};

std::uintptr_t program_counter(const void* context) noexcept {
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(registers.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return registers.pc;
#else
  return 0;
#endif
}

std::uintptr_t stack_pointer(const void* context) noexcept {
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(registers.gregs[REG_RSP]);
#elif defined(__aarch64__)
  return registers.sp;
#else
  return 0;
#endif
}

/// Asked of a system call, which fails where this process would fault: it reads the set, and then refuses what to do
/// with it.
bool is_readable(std::uintptr_t address) noexcept {
  return ::syscall(SYS_rt_sigprocmask, -1, address, nullptr, 8) == 0 || errno != EFAULT;
}

/// True where the stack pointer has left its stack, or an access just below it does: that is a call, or a further
/// local.
bool stack_overflowed(const siginfo_t& info, const void* context) noexcept {
  constexpr std::uintptr_t below = 64 * 1024;
  constexpr std::uintptr_t largest_frame = std::uintptr_t{1} << 30;
  const auto at = reinterpret_cast<std::uintptr_t>(info.si_addr);
  const std::uintptr_t top = stack_pointer(context);
  return at < top ? top - at <= below : at - top <= largest_frame && !is_readable(top);
}

/// _dl_find_object takes no lock: safe here, where dladdr is not.
std::uint32_t module_index(channel::BlackBox& box, const char* path) noexcept {
  for (std::uint32_t i = 0; i < channel::BlackBox::max_modules; ++i) {
    char* name = box.modules[i];
    if (name[0] == 0) {
      // the program itself has no name in the loader's list
      const char* shown = path[0] != 0 ? path : "/";
      std::strncpy(name, shown, sizeof box.modules[i] - 1);
      return i;
    }
    if (std::strncmp(name, path[0] != 0 ? path : "/", sizeof box.modules[i] - 1) == 0) return i;
  }
  return channel::BlackBox::max_modules;
}

void record_frame(channel::BlackBox& box, const void* address) noexcept {
  channel::BlackBox::Frame& frame = box.frames[box.frame_count];
  frame.offset = reinterpret_cast<std::uintptr_t>(address);
  frame.module = channel::BlackBox::max_modules;
  dl_find_object object;
  if (_dl_find_object(const_cast<void*>(address), &object) == 0 && object.dlfo_link_map) {
    frame.offset -= object.dlfo_link_map->l_addr;
    frame.module = module_index(box, object.dlfo_link_map->l_name);
  }
  ++box.frame_count;
}

/// After a jump to nowhere the unwinder, which reads the code there, would fault: only the jump's origin can be told.
const void* origin_of_jump(const void* context) noexcept {
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return *reinterpret_cast<const void* const*>(registers.gregs[REG_RSP]);
#elif defined(__aarch64__)
  return reinterpret_cast<const void*>(registers.regs[30]);
#else
  return nullptr;
#endif
}

void record_frames(channel::BlackBox& box, const void* context) noexcept {
  const std::uintptr_t faulting = program_counter(context);
  box.frame_count = 0;
  record_frame(box, reinterpret_cast<const void*>(faulting));
  if (box.frames[0].module == channel::BlackBox::max_modules) {
    record_frame(box, origin_of_jump(context));
    return;
  }
  const void* stack[channel::BlackBox::max_frames + 8] = {};
  boost::stacktrace::safe_dump_to(stack, sizeof stack);
  constexpr std::size_t room = sizeof stack / sizeof stack[0];
  // The handler's own frames come first; the fault is where the interrupted code was.
  std::size_t first = 0;
  while (first < room && stack[first] && reinterpret_cast<std::uintptr_t>(stack[first]) != faulting) ++first;
  for (std::size_t i = first + 1; i < room && stack[i] && box.frame_count < channel::BlackBox::max_frames; ++i)
    record_frame(box, stack[i]);
}

void record_crash(int signal, const siginfo_t& info, const void* context) noexcept {
  if (recorded.exchange(true)) return;
  channel::BlackBox& box = crash_channel->black_box();
  const bool by_kernel = info.si_code > 0;
  box.code = info.si_code;
  box.has_address =
      by_kernel && (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL) ? 1 : 0;
  box.address = box.has_address != 0 ? reinterpret_cast<std::uintptr_t>(info.si_addr) : 0;
  box.stack_overflow = by_kernel && (signal == SIGSEGV || signal == SIGBUS) && stack_overflowed(info, context) ? 1 : 0;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) box.peak_memory = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  // Signal and address are told even if the unwinding below faults in its turn.
  box.signal.store(static_cast<std::uint32_t>(signal), std::memory_order_release);
  record_frames(box, context);
}

extern "C" void handle_crash(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  // Of a fork of the worker the parent knows nothing.
  const bool mine = ::getpid() == crash_channel->status().pid.load(std::memory_order_relaxed);
  if (mine) record_crash(signal, *info, context);
  // The kernel gives its notice after it has written a core file, which takes long for a large process.
  if (mine && former_actions[signal].sa_handler == SIG_DFL) {
    crash_channel->black_box().fatal.store(1, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    crash_channel->ring_watchdog();
  }
  ::sigaction(signal, &former_actions[signal], nullptr);
  errno = saved_errno;
  // A fault happens again on return and takes its former course; a signal that was sent has to be sent again.
  if (info->si_code <= 0 || signal == SIGABRT || signal == SIGSYS || signal == SIGTRAP)
    ::syscall(SYS_tgkill, ::getpid(), static_cast<pid_t>(::syscall(SYS_gettid)), signal);
}

[[noreturn]] void handle_terminate_for(std::string_view reason) {
  record_reason(crash_channel->black_box(), reason);
  if (former_terminate) former_terminate();
  std::abort();
}

[[noreturn]] void handle_terminate() {
  wire::end_if_thread_exits([] {
    handle_terminate_for(
        "the task called pthread_exit, which ends its worker: return from the task's function, or throw");
  });
  std::string reason = "std::terminate was called";
  if (const std::type_info* type = abi::__cxa_current_exception_type()) {
    reason = fmt::format("std::terminate was called for an exception of type {}", system::demangle(type->name()));
    try {
      throw;
    } catch (const std::exception& error) {
      reason += fmt::format(": {}", error.what());
    } catch (...) {
    }
  }
  handle_terminate_for(reason);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool under_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
constexpr bool under_sanitizer = true;
#else
constexpr bool under_sanitizer = false;
#endif
#else
constexpr bool under_sanitizer = false;
#endif

/// A stack for the handler, so that a stack overflow can be reported: with a guard page below.
void give_signal_stack() {
  constexpr std::size_t size = 128 * 1024;
  const std::size_t guard = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, size + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::system_category(), "a stack for the crash handler");
  ::mprotect(memory, guard, PROT_NONE);
  stack_t stack{};
  stack.ss_sp = static_cast<char*>(memory) + guard;
  stack.ss_size = size;
  ::sigaltstack(&stack, nullptr);
}

}  // namespace

void record_reason(channel::BlackBox& box, std::string_view reason) noexcept {
  const std::size_t length = std::min(reason.size(), sizeof box.reason);
  std::memcpy(box.reason, reason.data(), length);
  box.reason_length.store(static_cast<std::uint32_t>(length), std::memory_order_release);
}

void install_crash_handler(channel::WorkerChannel& channel) {
  crash_channel = &channel;
  former_terminate = std::set_terminate(&handle_terminate);
  if (under_sanitizer) return;
  const void* warm[4];
  boost::stacktrace::safe_dump_to(warm, sizeof warm);  // the first call loads what the handler must not load
  give_signal_stack();
  struct sigaction action{};
  action.sa_sigaction = &handle_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int signal : crash_signals) ::sigaction(signal, &action, &former_actions[signal]);
}

}  // namespace yoke::worker
