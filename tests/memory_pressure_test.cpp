// F1, C2: memory as the kernel counts it, read from a root that the test makes up.
#include "lib/system/memory_pressure.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "yoke/shared_array.hpp"

namespace {

namespace fs = std::filesystem;
using yoke::system::MemoryPressure;

class FakeRoot : public testing::Test {
 protected:
  FakeRoot() {
    std::string pattern = fs::temp_directory_path() / "fake-root-XXXXXX";
    root = ::mkdtemp(pattern.data());
  }
  ~FakeRoot() override { fs::remove_all(root); }
  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((root / file).parent_path());
    std::ofstream(root / file) << text;
  }
  fs::path root;
};

using MemoryLimit = FakeRoot;

TEST_F(MemoryLimit, the_least_of_the_cgroups_and_the_machine) {
  const std::size_t machine = yoke::system::memory_limit(root);
  EXPECT_GT(machine, 10'000'000U);
  write("proc/self/cgroup", "0::/app/one\n");
  write("sys/fs/cgroup/app/one/memory.max", "max\n");
  EXPECT_EQ(yoke::system::memory_limit(root), machine);
  write("sys/fs/cgroup/app/memory.max", "1000000\n");
  EXPECT_EQ(yoke::system::memory_limit(root), 1'000'000U);
}

TEST_F(MemoryLimit, of_a_v1_cgroup) {
  const std::size_t machine = yoke::system::memory_limit(root);
  write("proc/self/cgroup", "4:memory:/app\n0::/\n");
  write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(yoke::system::memory_limit(root), machine);
  write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "2000000\n");
  EXPECT_EQ(yoke::system::memory_limit(root), 2'000'000U);
}

using AvailableMemory = FakeRoot;

TEST_F(AvailableMemory, I18_the_least_of_the_machine_and_of_each_cgroup_above) {
  using yoke::system::available_memory;
  EXPECT_FALSE(available_memory(root));
  write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    5000 kB\nSwapFree: 1000 kB\n");
  EXPECT_EQ(available_memory(root), 6000U * 1024);
  write("proc/self/cgroup", "0::/app/one\n");
  write("sys/fs/cgroup/app/one/memory.max", "max\n");
  write("sys/fs/cgroup/app/one/memory.current", "7\n");
  EXPECT_EQ(available_memory(root), 6000U * 1024);
  write("sys/fs/cgroup/app/memory.max", "1000000\n");
  write("sys/fs/cgroup/app/memory.current", "900000\n");
  write("sys/fs/cgroup/app/memory.swap.max", "0\n");
  EXPECT_EQ(available_memory(root), 100'000U);
  write("sys/fs/cgroup/app/memory.stat", "anon 5\nfile 60000\ninactive_file 20000\nactive_file 3000\n");
  EXPECT_EQ(available_memory(root), 123'000U) << "files that were read can go";
  write("sys/fs/cgroup/app/memory.swap.max", "50000\n");
  write("sys/fs/cgroup/app/memory.swap.current", "10000\n");
  EXPECT_EQ(available_memory(root), 163'000U);
  write("sys/fs/cgroup/app/memory.current", "2000000\n");
  EXPECT_EQ(available_memory(root), 40'000U) << "above its limit for a moment";
}

TEST_F(AvailableMemory, I18_of_a_v1_cgroup) {
  write("proc/meminfo", "MemAvailable: 5000 kB\nSwapFree: 0 kB\n");
  write("proc/self/cgroup", "4:memory:/app\n0::/\n");
  write("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1000000\n");
  write("sys/fs/cgroup/memory/app/memory.usage_in_bytes", "700000\n");
  write("sys/fs/cgroup/memory/app/memory.stat", "inactive_file 1\ntotal_inactive_file 5000\ntotal_active_file 500\n");
  EXPECT_EQ(yoke::system::available_memory(root), 305'500U);
}

/// A memory cgroup of 100 MB, where this machine lets the test make one.
class SmallCgroup {
 public:
  SmallCgroup() {
    for (const fs::path above : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
      const fs::path folder = above / ("yoke-test-" + std::to_string(::getpid()));
      std::error_code error;
      if (!fs::exists(above) || !fs::create_directory(folder, error)) continue;
      for (const char* const file : {"memory.limit_in_bytes", "memory.max"})
        if (fs::exists(folder / file) && std::ofstream(folder / file) << 100'000'000 << std::flush) {
          folder_ = folder;
          return;
        }
      fs::remove(folder, error);
    }
  }
  ~SmallCgroup() {
    std::error_code error;
    if (!folder_.empty()) fs::remove(folder_, error);
  }
  explicit operator bool() const { return !folder_.empty(); }
  /// Exits with what the call returns in a process within; -1 if the kernel killed it.
  int run_within(int (*call)()) const {
    const pid_t child = ::fork();
    if (child == 0) {
      std::ofstream(folder_ / "cgroup.procs") << ::getpid() << std::flush;
      ::_exit(call());
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  fs::path folder_;
};

int refused(std::size_t size, int count) {
  std::vector<yoke::SharedArray<char>> all;
  try {
    for (int i = 0; i < count; ++i) all.emplace_back(size);
  } catch (const std::system_error& error) {
    return error.code() == std::errc::not_enough_memory ? 1 : 2;
  }
  return 0;
}

TEST(SmallCgroupTest, I18_a_shared_array_beyond_a_cgroups_memory_is_an_error) {
  const SmallCgroup group;
  if (!group) GTEST_SKIP() << "no memory cgroup can be made here";
  EXPECT_EQ(group.run_within([] { return refused(40'000'000, 1); }), 0);
  EXPECT_EQ(group.run_within([] { return refused(200'000'000, 1); }), 1);
  EXPECT_EQ(group.run_within([] { return refused(30'000'000, 10); }), 1) << "with what others have taken";
  EXPECT_EQ(group.run_within([] { return refused(500'000, 1000); }), 1) << "in small pieces";
}

using OomCounter = FakeRoot;

TEST_F(OomCounter, C2_of_a_v2_cgroup) {
  write("proc/self/cgroup", "0::/app/one\n");
  write("proc/vmstat", "oom_kill 5\n");
  write("sys/fs/cgroup/app/one/memory.events", "low 0\noom 1\noom_kill 0\noom_group_kill 0\n");
  MemoryPressure pressure(root);
  EXPECT_FALSE(pressure.rose());
  write("proc/vmstat", "oom_kill 6\n");  // elsewhere on the machine
  EXPECT_FALSE(pressure.rose());
  write("sys/fs/cgroup/app/one/memory.events", "low 0\noom 1\noom_kill 1\noom_group_kill 0\n");
  EXPECT_TRUE(pressure.rose());
  EXPECT_FALSE(pressure.rose());
}

TEST_F(OomCounter, C2_of_a_v1_cgroup) {
  write("proc/self/cgroup", "4:memory:/app\n0::/\n");
  write("sys/fs/cgroup/memory/app/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
  MemoryPressure pressure(root);
  EXPECT_FALSE(pressure.rose());
  write("sys/fs/cgroup/memory/app/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 8\n");
  EXPECT_TRUE(pressure.rose());
}

TEST_F(OomCounter, C2_of_the_group_that_the_process_was_moved_to) {
  write("proc/self/cgroup", "0::/one\n");
  write("sys/fs/cgroup/one/memory.events", "oom_kill 3\n");
  write("sys/fs/cgroup/two/memory.events", "oom_kill 3\n");
  MemoryPressure pressure(root);
  write("proc/self/cgroup", "0::/two\n");
  write("sys/fs/cgroup/two/memory.events", "oom_kill 4\n");
  EXPECT_TRUE(pressure.rose());
}

TEST_F(OomCounter, C2_in_a_container_that_sees_only_its_own_part) {
  write("proc/self/cgroup", "4:memory:/docker/abc\n");
  write("proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  write("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 1\n");
  MemoryPressure pressure(root);
  write("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 2\n");
  EXPECT_TRUE(pressure.rose());
}

TEST_F(OomCounter, C2_of_the_machine_where_no_cgroup_counts) {
  write("proc/vmstat", "nr_free_pages 1\noom_kill 5\n");
  MemoryPressure pressure(root);
  EXPECT_FALSE(pressure.rose());
  write("proc/vmstat", "nr_free_pages 1\noom_kill 6\n");
  EXPECT_TRUE(pressure.rose());
}

TEST_F(OomCounter, C2_is_silent_where_nothing_counts_or_all_is_garbage) {
  EXPECT_FALSE(MemoryPressure(root).rose());
  write("proc/self/cgroup", "garbage\n4:memory\n");
  write("proc/vmstat", "oom_kill many\n");
  MemoryPressure pressure(root);
  write("proc/vmstat", "oom_kill -1\n");
  EXPECT_FALSE(pressure.rose());
}

TEST(MemoryUse, C2_tells_own_memory_from_shared) {
  const auto before = yoke::system::memory_use(::getpid());
  EXPECT_GT(before.resident, before.own);
  EXPECT_GT(before.own, 0U);
  constexpr std::size_t size = 64 << 20;
  const std::vector<char> filled(size, 'x');
  const auto after = yoke::system::memory_use(::getpid());
  EXPECT_GT(after.own, before.own + size / 2);
  EXPECT_EQ(filled.back(), 'x');
}

TEST(MemoryUse, C2_is_nothing_where_no_process_is) {
  EXPECT_EQ(yoke::system::memory_use(-1).resident, 0U);
  EXPECT_EQ(yoke::system::memory_use(-1).own, 0U);
}

}  // namespace
