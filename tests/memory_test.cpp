// D13, C2: workers that use too much memory: replaced between tasks, killed in a task, or killed by the kernel.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "tests/support/child_program.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

constexpr std::size_t megabyte = 1 << 20;

/// Fresh memory with something in each page.
std::vector<char> fill(std::size_t bytes) { return std::vector<char>(bytes, 'x'); }

std::vector<std::vector<char>>& leaked() {
  static auto* all = new std::vector<std::vector<char>>;
  return *all;
}
int leak(int megabytes) {
  leaked().push_back(fill(static_cast<std::size_t>(megabytes) * megabyte));
  return ::getpid();
}
int use_and_give_back(int megabytes) {
  const auto memory = fill(static_cast<std::size_t>(megabytes) * megabyte);
  return memory.back() == 'x' ? ::getpid() : 0;
}
int take_by_value(const std::vector<char>& memory) { return memory.empty() ? 0 : ::getpid(); }
int descriptors_of_messages() {
  int count = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    if (std::filesystem::read_symlink(entry, gone).string().starts_with("/memfd:yoke-message")) ++count;
  return count;
}
int look_at(std::string_view text) { return std::accumulate(text.begin(), text.end(), 0) != 0 ? ::getpid() : 0; }
void balloon(const Board& board, unsigned entered) {
  board.add(entered);
  for (;;) leak(8);
}

using Memory = PoolTest;

TEST_F(Memory, D13_a_leaking_worker_is_replaced_between_tasks) {
  restart({.max_workers = 1, .recycle_worker_memory = 256 * megabyte});
  std::set<int> pids;
  for (int i = 0; i < 20; ++i) pids.insert(soon(pool->submit(leak, 64)).get());
  EXPECT_GE(pids.size(), 2U);
  EXPECT_LE(pids.size(), 11U);  // it leaks for a few tasks first
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(Memory, D13_no_task_is_lost_when_it_is_replaced) {
  restart({.max_workers = 2, .recycle_worker_memory = 128 * megabyte});
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 400; ++i) futures.push_back(i % 8 == 0 ? pool->submit(leak, 32) : pool->submit(own_pid));
  for (auto& future : futures) EXPECT_GT(soon(future).get(), 0);
  EXPECT_GE(pool->stats().started, 4U);
  EXPECT_EQ(pool->stats().deaths, 0U);
}

TEST_F(Memory, D13_what_a_task_gives_back_is_no_leak) {
  restart({.max_workers = 1, .recycle_worker_memory = 128 * megabyte});
  std::set<int> pids;
  for (int i = 0; i < 5; ++i) pids.insert(soon(pool->submit(use_and_give_back, 300)).get());
  for (int i = 0; i < 5; ++i) pids.insert(soon(pool->submit(take_by_value, fill(200 * megabyte))).get());
  EXPECT_EQ(pids.size(), 1U);
}

TEST_F(Memory, D13_arguments_in_shared_memory_are_not_the_workers_own) {
  restart({.max_workers = 1, .recycle_worker_memory = 128 * megabyte, .max_worker_memory = 192 * megabyte});
  const std::string text(300 * megabyte, 'x');
  const int first = soon(pool->submit(look_at, text)).get();
  EXPECT_EQ(soon(pool->submit(look_at, text)).get(), first);
}

TEST_F(Memory, D13_a_worker_keeps_no_descriptor_of_arguments) {
  restart({.max_workers = 1});
  EXPECT_NE(soon(pool->submit(take_by_value, fill(megabyte))).get(), 0);
  EXPECT_EQ(soon(pool->submit(descriptors_of_messages)).get(), 0) << "their memory could not be given back";
}

TEST_F(Memory, D13_one_that_balloons_within_a_task_is_killed_and_the_error_says_so) {
  restart({.max_workers = 2, .max_worker_memory = 300 * megabyte});
  enum : unsigned { entered, gate, ballooning };
  auto other = pool->submit(pass_gate, board, entered, gate);
  board.wait_for(entered);
  auto future = pool->submit(balloon, board, ballooning);
  const auto death = death_of(future);
  EXPECT_TRUE(death.out_of_memory);
  EXPECT_EQ(death.signal, SIGKILL);
  EXPECT_NE(death.reason.find("max_worker_memory allows (314.6 MB)"), std::string::npos) << death.reason;
  EXPECT_NE(yoke::to_string(death).find("for want of memory"), std::string::npos) << yoke::to_string(death);
  board.add(gate);
  EXPECT_GT(soon(other).get(), 0);  // the other worker never notices
  const auto stats = pool->stats();
  EXPECT_EQ(stats.deaths_by_cause.over_memory_limit, 1U);
  EXPECT_EQ(stats.deaths, 1U);
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);
}

TEST_F(Memory, D13_one_that_balloons_is_tried_again_if_that_was_asked_for) {
  restart({.max_workers = 1, .max_worker_memory = 200 * megabyte});
  enum : unsigned { ballooning };
  auto future = pool->submit({.retries = 2}, balloon, board, ballooning);
  EXPECT_TRUE(death_of(future).out_of_memory);
  EXPECT_EQ(board.get(ballooning), 3U);
}

TEST_F(Memory, D13_limits_that_are_never_reached_change_nothing) {
  restart({.max_workers = 2, .recycle_worker_memory = 4096 * megabyte, .max_worker_memory = 4096 * megabyte});
  std::vector<yoke::Future<int>> futures;
  for (int i = 0; i < 1000; ++i) futures.push_back(pool->submit(add_one, i));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(soon(futures[static_cast<std::size_t>(i)]).get(), i + 1);
  EXPECT_EQ(pool->stats().deaths, 0U);
  EXPECT_LE(pool->stats().started, 2U);
}

constexpr std::size_t few_megabytes = 1'000'000;
constexpr std::size_t too_much = 80 * few_megabytes;

/// Not in memory of its own: in a memfd, in pipes, in a child, in a child's child.
int take_by(int way) {
  const auto fill = [](int fd) {
    const std::vector<char> part(few_megabytes, 'x');
    for (std::size_t done = 0; done < too_much; done += part.size())
      if (::write(fd, part.data(), part.size()) < 0) break;
  };
  const auto touch = [] {
    std::vector<char> all(too_much);
    for (std::size_t i = 0; i < all.size(); i += 4096) const_cast<volatile char&>(all[i]) = 1;
    for (;;) ::pause();
  };
  if (way == 0) fill(::memfd_create("of-a-task", 0));
  for (std::size_t done = 0; way == 1 && done < too_much; done += 65'536) {
    int ends[2];
    const std::vector<char> part(65'536, 'x');
    if (::pipe2(ends, O_NONBLOCK) != 0 || ::write(ends[1], part.data(), part.size()) <= 0) break;
  }
  if (way == 2 && ::fork() == 0) touch();
  if (way == 3 && ::fork() == 0) {
    if (::fork() == 0) touch();
    for (;;) ::pause();
  }
  for (;;) ::pause();
}

TEST_F(Memory, U11_max_worker_memory_counts_children_memfds_and_pipes) {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  for (const int way : {0, 1, 2, 3}) {
    if (way == 1 && (::geteuid() != 0 || files.rlim_cur < 4000)) continue;  // others may not fill so many
    restart({.max_workers = 1, .max_worker_memory = 40 * few_megabytes});
    const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { soon(pool->submit(take_by, way)).get(); });
    ASSERT_TRUE(error) << way;
    EXPECT_TRUE(error->death().out_of_memory) << way;
    EXPECT_NE(std::string(error->what()).find("max_worker_memory"), std::string::npos) << error->what();
  }
}

TEST_F(Memory, U11_tasks_cannot_have_more_processes_than_allowed) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may have as many as it likes";
  restart({.max_workers = 1, .limits = {.processes = 1}});
  EXPECT_LT(soon(pool->submit([] {
              const pid_t child = ::fork();
              if (child == 0) ::_exit(0);
              return static_cast<int>(child);
            })).get(),
            0);
}

/// The child makes a memory cgroup of its own, so that the kernel's killer strikes in it and nowhere else.
TEST_F(Memory, C2_a_worker_that_the_kernel_killed_for_want_of_memory) {
  ChildProgram child(child_path("test_short_of_memory_program"));
  const std::string first = child.read_line();
  if (first.starts_with("skipped: ")) GTEST_SKIP() << first;
  EXPECT_NE(first.find("SIGKILL for want of memory"), std::string::npos) << first;
  EXPECT_NE(child.read_line().find("the kernel killed it for want of memory"), std::string::npos);
  const std::string counts = child.read_all();
  EXPECT_NE(counts.find("out of memory 1, then killed 1"), std::string::npos) << counts;
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
