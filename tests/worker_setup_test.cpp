// D15, D17, D18, D19: what a worker process is given, and what it is not.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

const std::string at_start = std::getenv("YOKE_TEST_VALUE") ? std::getenv("YOKE_TEST_VALUE") : "unset";

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "unset";
}
std::string variable_at_start() { return at_start; }

std::map<std::string, int> own_descriptors() { return descriptors(); }
std::string target_of(int fd) {
  char target[512];
  const ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return std::string(target, n < 0 ? 0 : static_cast<std::size_t>(n));
}
int blocked_signals() {
  sigset_t mask;
  ::sigprocmask(SIG_BLOCK, nullptr, &mask);
  int blocked = 0;
  for (int signal = 1; signal < 32; ++signal) blocked += sigismember(&mask, signal);
  return blocked;
}
bool ignores(int signal) {
  struct sigaction action{};
  ::sigaction(signal, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}
int processors() {
  cpu_set_t set;
  ::sched_getaffinity(0, sizeof set, &set);
  return CPU_COUNT(&set);
}
std::vector<std::uint64_t> limit_values() {
  std::vector<std::uint64_t> values;
  for (const auto resource : {RLIMIT_CPU, RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_FSIZE, RLIMIT_AS}) {
    rlimit limit{};
    ::getrlimit(resource, &limit);
    values.push_back(limit.rlim_cur);
  }
  return values;
}

using WorkerSetup = PoolTest;

TEST_F(WorkerSetup, D15_workers_ignore_ctrl_c) {
  EXPECT_TRUE(soon(pool->submit(ignores, SIGINT)).get());
  EXPECT_FALSE(soon(pool->submit(ignores, SIGTERM)).get());
  EXPECT_FALSE(soon(pool->submit(ignores, SIGPIPE)).get());
  for (const auto& worker : pool->stats().workers) ::kill(-worker.pid, SIGINT);
  prime(*pool, size, board);
  EXPECT_EQ(pool->stats().deaths, 0U);
  EXPECT_EQ(pool->stats().started, static_cast<unsigned>(size));
}

/// Of those that a worker has, what it should not have.
std::map<std::string, int> unexpected(std::map<std::string, int> all) {
  for (const auto& name : {std::string("/dev/null"), target_of(1), target_of(2)}) {
    if (name.starts_with("pipe:"))
      --all["pipe:"];
    else if (name.starts_with("socket:"))
      --all["socket:"];
    else
      --all[name];
  }
  --all["socket:"];  // to its parent
  std::erase_if(all, [](const auto& descriptor) { return descriptor.second == 0; });
  return all;
}
std::map<std::string, int> descriptors_one_deeper() {
  yoke::ProcessPoolExecutor inner(1);
  return inner.submit(own_descriptors).get();
}

TEST_F(WorkerSetup, D17_descriptors_are_exactly_the_expected_ones) {
  const int open_in_parent = ::open("/etc/passwd", O_RDONLY);  // not close-on-exec
  restart(options());
  const auto all = soon(pool->submit(own_descriptors)).get();
  ::close(open_in_parent);
  EXPECT_EQ(soon(pool->submit(target_of, 0)).get(), "/dev/null");
  EXPECT_EQ(soon(pool->submit(target_of, 1)).get(), target_of(1));
  EXPECT_EQ(soon(pool->submit(target_of, 2)).get(), target_of(2));
  EXPECT_EQ(unexpected(all), (std::map<std::string, int>()));
  EXPECT_EQ(unexpected(soon(pool->submit(descriptors_one_deeper)).get()), (std::map<std::string, int>()));
}

TEST_F(WorkerSetup, D17_signals_are_as_in_a_new_program) {
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ::signal(SIGUSR1, SIG_IGN);
  restart(options());
  EXPECT_EQ(soon(pool->submit(blocked_signals)).get(), 0);
  EXPECT_FALSE(soon(pool->submit(ignores, SIGUSR1)).get());
  ::signal(SIGUSR1, SIG_DFL);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(WorkerSetup, D17_affinity_is_the_process_s) { EXPECT_EQ(soon(pool->submit(processors)).get(), processors()); }

TEST_F(WorkerSetup, D17_affinity_is_not_that_of_the_thread_that_submitted_first) {
  if (processors() < 2) GTEST_SKIP() << "there is but one processor to run on";
  int seen = 0;
  std::thread([&] {
    cpu_set_t set, one;
    ::sched_getaffinity(0, sizeof set, &set);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &set)) CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    ASSERT_EQ(processors(), 1);
    restart(options());
    seen = soon(pool->submit(processors)).get();
  }).join();
  EXPECT_EQ(seen, processors());
}

/// Processors on which the worker's lifeline may run.
int lifeline_processors() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(entry.path() / "comm");
    std::string name;
    cpu_set_t set;
    if (comm >> name && name == "yoke-lifeline" &&
        ::sched_getaffinity(std::stoi(entry.path().filename().string()), sizeof set, &set) == 0)
      return CPU_COUNT(&set);
  }
  return 0;
}
TEST_F(WorkerSetup,
       D17_the_lifeline_runs_where_the_main_thread_does) {  // out of the watchdog's way, when both are killed
  // It is told by the main thread after a sleep, which a worker that was given its next task at once has not had yet.
  wait_until([&] { return soon(pool->submit(lifeline_processors)).get() == 1; }, "a lifeline that follows");
}

TEST_F(WorkerSetup, D17_the_bootstrap_is_gone) {
  EXPECT_EQ(soon(pool->submit(variable, "YOKE_WORKER")).get(), "unset");
  EXPECT_TRUE(soon(pool->submit([](int) { return yoke::this_worker::is_worker(); }, 0)).get());
}

TEST_F(WorkerSetup, D18_the_environment_is_set_before_static_objects) {
  auto with_value = options();
  with_value.env["YOKE_TEST_VALUE"] = "a b=c";
  restart(with_value);
  EXPECT_EQ(soon(pool->submit(variable, "YOKE_TEST_VALUE")).get(), "a b=c");
  EXPECT_EQ(soon(pool->submit(variable_at_start)).get(), "a b=c");
  EXPECT_EQ(variable("YOKE_TEST_VALUE"), "unset");
}

TEST_F(WorkerSetup, D18_ten_executors_with_different_environments_at_once) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 10; ++t)
    threads.emplace_back([t] {
      const std::string value = "value " + std::to_string(t);
      yoke::ProcessPoolExecutor own({.max_workers = 2, .env = {{"YOKE_TEST_VALUE", value}}});
      for (int i = 0; i < 5; ++i) EXPECT_EQ(soon(own.submit(variable_at_start)).get(), value);
    });
  for (auto& thread : threads) thread.join();
}

/// OMP_NUM_THREADS and OPENBLAS_NUM_THREADS of a pool's worker, while this process has the one set to `own`.
std::string thread_variables(const yoke::ExecutorOptions& options, const char* own) {
  if (own) ::setenv("OMP_NUM_THREADS", own, 1);
  yoke::ProcessPoolExecutor pool(options);
  const std::string omp = soon(pool.submit(variable, "OMP_NUM_THREADS")).get();
  ::unsetenv("OMP_NUM_THREADS");
  return omp + " " + soon(pool.submit(variable, "OPENBLAS_NUM_THREADS")).get();
}

TEST_F(WorkerSetup, D18_inner_threads_share_the_processors) {
  ::setenv("YOKE_MAX_CPU_COUNT", "1", 1);
  EXPECT_EQ(thread_variables({.max_workers = 3}, nullptr), "1 1");
  ::unsetenv("YOKE_MAX_CPU_COUNT");
  const std::string all = std::to_string(yoke::cpu_count());
  EXPECT_EQ(thread_variables({.max_workers = 1}, nullptr), all + " " + all);
  EXPECT_EQ(thread_variables({.max_workers = 1}, "7"), "7 " + all) << "what is set stays";
  EXPECT_EQ(thread_variables({.max_workers = 1, .inner_max_num_threads = 5}, "7"), "5 5") << "unless a number is given";
  EXPECT_EQ(thread_variables({.max_workers = 1, .env = {{"OMP_NUM_THREADS", "3"}}, .inner_max_num_threads = 5}, "7"),
            "3 5");
  EXPECT_THROW(yoke::ProcessPoolExecutor({.inner_max_num_threads = 0}), std::invalid_argument);
}

TEST_F(WorkerSetup, D19_limits_are_in_force) {
  auto limited = options();
  limited.limits = {.cpu_seconds = 1000, .open_files = 100, .core_size = 0, .file_size = 1'000'000};
  if (!sanitized) limited.limits.address_space = 4'000'000'000;
  restart(limited);
  const auto values = soon(pool->submit(limit_values)).get();
  EXPECT_EQ(values[0], 1000U);
  EXPECT_EQ(values[1], 100U);
  EXPECT_EQ(values[2], 0U);
  EXPECT_EQ(values[3], 1'000'000U);
  if (!sanitized) {
    EXPECT_EQ(values[4], 4'000'000'000U);
    EXPECT_THROW(soon(pool->submit([](std::size_t n) { return std::string(n, 'x').size(); }, 5'000'000'000)).get(),
                 std::bad_alloc);
  }
}

TEST_F(WorkerSetup, D19_cpu_time_ends) {
  restart({.max_workers = 1, .limits = {.cpu_seconds = 1}});
  const auto future = pool->submit(
      [](int) -> int {
        for (volatile unsigned i = 0;;) i = i + 1;
      },
      0);
  const int signal = death_of(future).signal;
  EXPECT_TRUE(signal == SIGXCPU || signal == SIGKILL) << signal;
}

TEST_F(WorkerSetup, D19_limits_that_cannot_be_set_are_an_error) {
  may_write_stderr();  // the loader speaks
  restart({.max_workers = 1, .limits = {.address_space = 1'000'000}});  // not enough to start
  const auto error = thrown_by<yoke::BrokenProcessPool>([&] { soon(pool->submit(add_one, 1)).get(); });
  ASSERT_TRUE(error);
  EXPECT_FALSE(std::string(error->what()).empty());
}

}  // namespace
