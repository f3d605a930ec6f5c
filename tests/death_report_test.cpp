// C2, C16, C19, U9: what a death report says: who died, of what, where, and while doing what.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

constexpr int line_of_fault = __LINE__ + 1;
[[gnu::noinline]] int read_header(const volatile int* place) { return *place; }
[[gnu::noinline]] int parse_file(const std::string& name, std::uintptr_t place) {
  const int header = read_header(reinterpret_cast<const volatile int*>(place));
  return header + static_cast<int>(name.size());
}

[[gnu::noinline]] int use_up_stack(int depth) {
  volatile char room[2048];
  room[0] = static_cast<char>(depth);
  return depth == -1 ? 0 : use_up_stack(depth + 1) + room[0];
}

[[gnu::noinline]] int divide(int a, int b) { return a / b; }
[[noreturn, gnu::noinline]] void give_up() { std::abort(); }
[[gnu::noinline]] void throw_text(const char* text) { throw std::domain_error(text); }
void fail_with(const std::string& text) { throw_text(text.c_str()); }
[[gnu::noinline]] void throw_through_noexcept() noexcept {
  throw_text("nobody may see this");
  throw_text("nor this");
}
[[noreturn]] void leave(int code) { std::exit(code); }
int kill_self_with(int signal) { kill_self(signal); }

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
bool any_mentions(const std::vector<std::string>& frames, const std::string& part) {
  for (const auto& frame : frames)
    if (mentions(frame, part)) return true;
  return false;
}

class DeathReport : public PoolTest {
 protected:
  void TearDown() override {
    // the pool is as it was
    EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
    PoolTest::TearDown();
  }
  template <class T>
  std::string text_of(const yoke::Future<T>& future) {
    const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { soon(future).result(); });
    return error ? error->what() : "";
  }
};
#define NEEDS_CRASH_HANDLER() \
  if (sanitized) GTEST_SKIP() << "a sanitizer's own handlers take the crash"

TEST_F(DeathReport, C2_a_fault_names_address_function_and_line) {
  NEEDS_CRASH_HANDLER();
  const auto future = pool->submit(parse_file, "name", 8);
  const auto death = death_of(future);
  const std::string text = text_of(future);
  EXPECT_EQ(death.signal, SIGSEGV);
  EXPECT_EQ(death.signal_code, SEGV_MAPERR);
  ASSERT_TRUE(death.fault_address);
  EXPECT_EQ(*death.fault_address, 8U);
  ASSERT_GE(death.frames.size(), 2U) << text;
  EXPECT_TRUE(mentions(death.frames[0], "read_header(")) << text;
  EXPECT_TRUE(mentions(death.frames[0], "death_report_test.cpp:" + std::to_string(line_of_fault))) << text;
  EXPECT_TRUE(mentions(death.frames[1], "parse_file(")) << text;
  EXPECT_FALSE(any_mentions(death.frames, "yoke::detail")) << text;  // nothing below the task's function
  EXPECT_TRUE(mentions(text, "SIGSEGV at address 0x8 (not mapped) in ")) << text;
  EXPECT_TRUE(mentions(text, "called from ")) << text;
}

/// What that much asking adds to this process's memory.
template <class Ask>
std::size_t growth_of(const Ask& ask) {
  const std::size_t before = private_memory();
  ask();
  const std::size_t after = private_memory();
  return after > before ? after - before : 0;
}
TEST_F(DeathReport, C2_debug_information_is_read_once_whichever_thread_asks) {
  NEEDS_CRASH_HANDLER();
  const auto future = pool->submit(parse_file, "name", 8);
  const auto ask = [&] { EXPECT_TRUE(mentions(text_of(future), "death_report_test.cpp:")); };
  ask();
  const auto once_more = growth_of([&] {
    for (int i = 0; i < 20; ++i) std::thread(ask).join();
  });
  EXPECT_LT(once_more, 20U << 20) << "a megabyte a thread";
}

TEST_F(DeathReport, C2_names_worker_task_phase_and_time) {
  const auto ranks = pool->stats().workers;
  const auto future = pool->submit(kill_self_with, SIGKILL);
  const auto death = death_of(future);
  const std::string text = text_of(future);
  EXPECT_EQ(death.pid, future.worker_pid());
  int rank = -1;
  for (const auto& worker : ranks)
    if (worker.pid == death.pid) rank = worker.rank;
  EXPECT_EQ(death.rank, rank);
  EXPECT_EQ(death.signal, SIGKILL);
  EXPECT_TRUE(death.status_known);
  EXPECT_FALSE(death.out_of_memory);
  EXPECT_EQ(death.phase, yoke::Phase::run);
  EXPECT_GT(death.run_time.count(), 0);
  EXPECT_TRUE(mentions(death.task, "kill_self_with")) << death.task;
  EXPECT_TRUE(death.frames.empty());
  EXPECT_TRUE(
      mentions(text, "worker " + std::to_string(rank) + " (pid " + std::to_string(death.pid) + ") died: SIGKILL"))
      << text;
  EXPECT_TRUE(mentions(text, "while running '")) << text;
}

TEST_F(DeathReport, C2_a_crash_tells_its_peak_memory) {
  NEEDS_CRASH_HANDLER();
  const auto death = death_of(pool->submit(parse_file, "name", 8));
  EXPECT_GT(death.peak_memory, 1'000'000U);
}

TEST_F(DeathReport, C2_the_name_that_the_caller_gave) {
  const auto future = pool->submit({.name = "my own task"}, kill_self_with, SIGKILL);
  EXPECT_EQ(death_of(future).task, "my own task");
  EXPECT_TRUE(mentions(text_of(future), "'my own task'"));
}

TEST_F(DeathReport, C2_an_exit_tells_its_code) {
  const auto future = pool->submit(leave, 42);
  const auto death = death_of(future);
  EXPECT_EQ(death.signal, 0);
  EXPECT_EQ(death.exit_code, 42);
  EXPECT_TRUE(mentions(text_of(future), "died: exited with code 42")) << text_of(future);
}

TEST_F(DeathReport, C2_terminate_tells_the_exception) {
  may_write_stderr();
  const auto future = pool->submit(throw_through_noexcept);
  const auto death = death_of(future);
  EXPECT_TRUE(mentions(death.reason, "std::domain_error")) << death.reason;
  EXPECT_TRUE(mentions(death.reason, "nobody may see this")) << death.reason;
  EXPECT_TRUE(mentions(text_of(future), "nobody may see this"));
  if (!sanitized) {
    EXPECT_EQ(death.signal, SIGABRT);
    EXPECT_TRUE(any_mentions(death.frames, "throw_through_noexcept")) << text_of(future);
  }
}

TEST_F(DeathReport, U9_nothing_that_the_worker_wrote_can_pass_for_a_line_of_the_report) {
  may_write_stderr();
  const auto future = pool->submit([]() noexcept { throw_text("\x1b[2J\nworker 7 (pid 1) died: of old age\xc2\x9b"); });
  EXPECT_TRUE(mentions(death_of(future).reason, "\\x1b[2J\\nworker 7 (pid 1) died: of old age\\u009b"))
      << text_of(future);
  EXPECT_FALSE(mentions(text_of(future), "\x1b")) << text_of(future);
  EXPECT_FALSE(mentions(text_of(future), "\nworker 7")) << text_of(future);
}

TEST_F(DeathReport, U9_nor_can_an_initializer) {
  const auto fails = yoke::initializer(fail_with, "\x1b[2J\nall is well");
  yoke::ProcessPoolExecutor hopeless({.max_workers = 1, .initializer = fails});
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(hopeless.submit(divide, 1, 1)).get(); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(mentions(error->what(), "std::domain_error: \\x1b[2J\\nall is well")) << error->what();
}

TEST_F(DeathReport, C2_abort_names_its_caller) {
  NEEDS_CRASH_HANDLER();
  const auto death = death_of(pool->submit(give_up));
  EXPECT_EQ(death.signal, SIGABRT);
  EXPECT_TRUE(any_mentions(death.frames, "give_up()"));
  EXPECT_FALSE(death.fault_address);
}

TEST_F(DeathReport, C2_stack_overflow) {
  NEEDS_CRASH_HANDLER();
  const auto death = death_of(pool->submit(use_up_stack, 0));
  EXPECT_EQ(death.signal, SIGSEGV);
  EXPECT_TRUE(any_mentions(death.frames, "use_up_stack(int)"));
  EXPECT_TRUE(death.fault_address);
}

/// Two functions that call each other, and the C library at the end.
int deeper(int n);
__attribute__((noinline)) int deep(int n) {
  volatile char room[2000];
  room[0] = static_cast<char>(n);
  return deeper(n + 1) + room[0];
}
__attribute__((noinline)) int deeper(int n) {
  char text[6000];
  return std::snprintf(text, sizeof text, "%d %f", n, n * 0.5) + deep(n + 1);
}
__attribute__((noinline)) int large_frame(int) {
  volatile char room[32 << 20];
  std::memset(const_cast<char*>(room), 1, sizeof room);
  return room[5];
}
TEST_F(DeathReport, C19_a_stack_overflow_is_named_and_its_round_told_once) {
  NEEDS_CRASH_HANDLER();
  const std::string text = text_of(pool->submit(deep, 0));
  EXPECT_TRUE(mentions(text, "stack overflow")) << text;
  EXPECT_TRUE(mentions(text.substr(0, text.find('\n')), "::deep")) << text;
  EXPECT_TRUE(mentions(text, " more of the same")) << text;
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 12) << text;
}
TEST_F(DeathReport, C19_one_by_large_locals_too) {
  NEEDS_CRASH_HANDLER();
  const std::string text = text_of(pool->submit(large_frame, 0));
  EXPECT_TRUE(mentions(text, "stack overflow")) << text;
  EXPECT_TRUE(mentions(text, "large_frame(int)")) << text;
}
TEST_F(DeathReport, C19_other_faults_are_none) {
  NEEDS_CRASH_HANDLER();
  const std::string text = text_of(pool->submit(
      [](int n) {
        int* volatile below = &n - 100'000'000;
        return *below;
      },
      0));
  EXPECT_TRUE(mentions(text, "SIGSEGV")) << text;
  EXPECT_FALSE(mentions(text, "stack overflow")) << text;
}
TEST_F(DeathReport, C19_of_a_thread_that_the_task_started_it_is_supposed) {
  NEEDS_CRASH_HANDLER();
  const std::string text = text_of(pool->submit(
      [](int n) {
        std::thread(deep, n).join();
        return n;
      },
      0));
  EXPECT_TRUE(mentions(text, "a thread that a task has started overflows its stack")) << text;
}
TEST_F(DeathReport, C19_a_task_that_calls_pthread_exit) {
  NEEDS_CRASH_HANDLER();
  may_write_stderr();
  const std::string text = text_of(pool->submit(
      [](int n) -> int {
        if (n == 0) ::pthread_exit(nullptr);
        return n;
      },
      0));
  EXPECT_TRUE(mentions(text, "the task called pthread_exit")) << text;
  auto results = pool->map(
      {.chunksize = 3},
      [](int n) -> int {
        if (n == 1) ::pthread_exit(nullptr);
        return n;
      },
      std::vector<int>{0, 1, 2});
  auto it = results.begin();
  EXPECT_EQ(*it, 0);
  EXPECT_THROW(*++it, yoke::TerminatedWorkerError);
  EXPECT_EQ(*++it, 2);
}

TEST_F(DeathReport, C2_division_by_zero) {
  NEEDS_CRASH_HANDLER();
#if !defined(__x86_64__)
  GTEST_SKIP() << "does not trap here";
#endif
  const auto death = death_of(pool->submit(divide, 1, 0));
  EXPECT_EQ(death.signal, SIGFPE);
  ASSERT_FALSE(death.frames.empty());
  EXPECT_TRUE(mentions(death.frames[0], "divide(int, int")) << death.frames[0];
}

TEST_F(DeathReport, C2_a_jump_to_nowhere) {
  NEEDS_CRASH_HANDLER();
  const auto death = death_of(pool->submit([](std::uintptr_t place) { reinterpret_cast<void (*)()>(place)(); }, 16));
  EXPECT_EQ(death.signal, SIGSEGV);
  EXPECT_FALSE(death.frames.empty());
}

TEST_F(DeathReport, C2_every_signal_by_its_name) {
  may_write_stderr();
  for (const auto& [signal, name] : {std::pair(SIGTERM, "SIGTERM"),
                                     {SIGKILL, "SIGKILL"},
                                     {SIGUSR1, "SIGUSR1"},
                                     {SIGHUP, "SIGHUP"},
                                     {SIGPIPE, "SIGPIPE"},
                                     {SIGALRM, "SIGALRM"}}) {
    const auto future = pool->submit(kill_self_with, signal);
    EXPECT_EQ(death_of(future).signal, signal);
    EXPECT_TRUE(mentions(text_of(future), std::string("died: ") + name)) << text_of(future);
  }
}

TEST_F(DeathReport, C2_each_report_is_of_its_own_death) {
  NEEDS_CRASH_HANDLER();
  const auto one = pool->submit(parse_file, "a", 0x10);
  const auto two = pool->submit(parse_file, "b", 0x20);
  EXPECT_EQ(death_of(one).fault_address, 0x10U);
  EXPECT_EQ(death_of(two).fault_address, 0x20U);
  EXPECT_NE(death_of(one).pid, death_of(two).pid);
}

// The program's own handler, installed before its worker begins, where the environment says so.
void users_handler(int signal) {
  static constexpr char text[] = "the user's own handler\n";
  if (::write(2, text, sizeof text - 1) < 0) ::_exit(1);
  ::signal(signal, SIG_DFL);
}
const bool handler_installed = [] {
  if (std::getenv("YOKE_TEST_HANDLER")) ::signal(SIGSEGV, users_handler);
  return true;
}();

TEST_F(DeathReport, C16_the_users_handler_is_chained) {
  NEEDS_CRASH_HANDLER();
  expect_stderr("the user's own handler\n");
  restart({.max_workers = 1, .env = {{"YOKE_TEST_HANDLER", "1"}}});
  const auto future = pool->submit(parse_file, "name", 8);
  const auto death = death_of(future);
  EXPECT_EQ(death.signal, SIGSEGV);
  ASSERT_FALSE(death.frames.empty());
  EXPECT_TRUE(mentions(death.frames[0], "read_header(")) << death.frames[0];
}

/// Crashes with much memory in use, in a folder of its own.
int crash_in(const std::string& folder) {
  std::filesystem::current_path(folder);
  static const std::vector<char> much(64'000'000, 'x');
  return *reinterpret_cast<const volatile int*>(8) + much[0];
}

TEST_F(DeathReport, C16_a_core_file_is_written_to_its_end) {
  NEEDS_CRASH_HANDLER();
  std::ifstream setting("/proc/sys/kernel/core_pattern");
  std::string pattern;
  std::getline(setting, pattern);
  rlimit limit{};
  ::getrlimit(RLIMIT_CORE, &limit);
  if (pattern.empty() || pattern.find_first_of("|/%") != std::string::npos || limit.rlim_max < 200'000'000)
    GTEST_SKIP() << "core files of this system go elsewhere: " << pattern;
  std::string folder = testing::TempDir() + "yoke-core-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  {
    yoke::ProcessPoolExecutor dumps({.max_workers = 1, .limits = {.core_size = 200'000'000}});
    EXPECT_EQ(death_of(dumps.submit(crash_in, folder)).signal, SIGSEGV);
  }  // waits for the worker's end
  std::uintmax_t largest = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) largest = std::max(largest, file.file_size());
  EXPECT_GT(largest, 64'000'000U);
  std::filesystem::remove_all(folder);
}

}  // namespace
