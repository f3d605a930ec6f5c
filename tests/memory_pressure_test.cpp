// F1, C2: memory as the kernel counts it, read from a root that the test makes up.
#include "lib/system/memory_pressure.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

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
