// cpu_count's promises (F1, F2), on made-up systems in a temporary folder.
#include "lib/system/cpu_count.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using yoke::system::CpuSources;
using yoke::system::physical_cores;
using yoke::system::usable_cpus;

std::vector<int> cpus(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

// A machine of 64 CPUs without any limit; a test adds the files that it is about.
class CpuCount : public testing::Test {
 protected:
  CpuCount() {
    std::string name = (fs::temp_directory_path() / "yoke-cpu-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    sources.root = name;
    sources.affinity = cpus(64);
    sources.limit = "";
    write("sys/devices/system/cpu/online", "0-63\n");
  }
  ~CpuCount() override { fs::remove_all(sources.root); }

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories((sources.root / path).parent_path());
    std::ofstream(sources.root / path) << text;
  }

  void use_v2(const std::string& path) const {
    write("proc/self/cgroup", "0::" + path + "\n");
    write("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
  }

  void use_v1(const std::string& path) const {
    write("proc/self/cgroup", "4:memory:/elsewhere\n3:cpu,cpuacct:" + path + "\n1:name=systemd:/x\n");
    write("proc/self/mountinfo",
          "30 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
          "31 29 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
  }

  CpuSources sources;
};

TEST_F(CpuCount, F1_is_what_is_online_without_any_limit) { EXPECT_EQ(usable_cpus(sources), 64); }

TEST_F(CpuCount, F1_counts_the_online_list_with_its_holes) {
  write("sys/devices/system/cpu/online", "0-3,8,10-11\n");
  EXPECT_EQ(usable_cpus(sources), 7);
}

TEST_F(CpuCount, F1_is_bound_by_affinity) {
  sources.affinity = {3, 5, 9};
  EXPECT_EQ(usable_cpus(sources), 3);
}

TEST_F(CpuCount, F1_is_bound_by_the_v2_quota_rounded_up) {
  use_v2("/job");
  write("sys/fs/cgroup/job/cpu.max", "250000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 3);
  write("sys/fs/cgroup/job/cpu.max", "200000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 2);
  write("sys/fs/cgroup/job/cpu.max", "1000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 1);
}

TEST_F(CpuCount, F1_is_bound_by_each_v2_cgroup_up_to_the_mount) {
  use_v2("/outer/middle/job");
  write("sys/fs/cgroup/outer/middle/job/cpu.max", "800000 100000\n");
  write("sys/fs/cgroup/outer/middle/cpu.max", "max 100000\n");
  EXPECT_EQ(usable_cpus(sources), 8);
  write("sys/fs/cgroup/outer/cpu.max", "350000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 4);
  write("sys/fs/cgroup/cpu.max", "100000 50000\n");
  EXPECT_EQ(usable_cpus(sources), 2);
}

TEST_F(CpuCount, F1_ignores_cgroups_that_it_is_not_in) {
  use_v2("/job");
  write("sys/fs/cgroup/neighbour/cpu.max", "100000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 64);
}

TEST_F(CpuCount, F1_is_bound_by_the_v1_quota_on_the_whole_path) {
  use_v1("/slurm/job");
  write("sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/slurm/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(usable_cpus(sources), 64);
  write("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(usable_cpus(sources), 3);
}

TEST_F(CpuCount, F1_finds_the_containers_own_part_of_a_hierarchy) {
  // The path is the host's, while the mount shows the container's cgroup as its root.
  write("proc/self/cgroup", "3:cpu:/docker/abc/inner\n");
  write("proc/self/mountinfo", "31 29 0:28 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n");
  write("sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "500000\n");
  EXPECT_EQ(usable_cpus(sources), 5);
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
  EXPECT_EQ(usable_cpus(sources), 4);
}

TEST_F(CpuCount, F1_takes_the_mount_alone_when_its_cgroup_lies_outside) {
  write("proc/self/cgroup", "0::/../sibling\n");
  write("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  write("sys/fs/cgroup/sibling/cpu.max", "100000 100000\n");
  write("sys/fs/cgroup/cpu.max", "600000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 6);
}

TEST_F(CpuCount, F1_finds_a_mount_with_blanks_in_its_path) {
  write("proc/self/cgroup", "0::/job\n");
  write("proc/self/mountinfo", "29 23 0:26 / /my\\040groups rw - cgroup2 none rw\n");
  write("my groups/job/cpu.max", "200000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 2);
}

TEST_F(CpuCount, F1_looks_in_the_usual_places_without_mountinfo) {
  write("proc/self/cgroup", "2:cpuacct,cpu:/job\n0::/job\n");
  write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "300000\n");
  EXPECT_EQ(usable_cpus(sources), 3);
  write("sys/fs/cgroup/unified/job/cpu.max", "200000 100000\n");
  EXPECT_EQ(usable_cpus(sources), 2);
}

TEST_F(CpuCount, F1_tolerates_what_it_does_not_understand_in_a_quota) {
  use_v2("/job");
  for (const char* text : {"", "\n", "max", "max 100000", "-1 100000", "lots", "0 100000", "100000 0", "100000 -5",
                           "12x 100000", "99999999999999999999999 100000"}) {
    write("sys/fs/cgroup/job/cpu.max", text);
    EXPECT_EQ(usable_cpus(sources), 64) << '"' << text << '"';
  }
  use_v1("/job");
  for (const char* text : {"", "-1", "max", "garbage", "0"}) {
    write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", text);
    EXPECT_EQ(usable_cpus(sources), 64) << '"' << text << '"';
  }
}

TEST_F(CpuCount, F1_tolerates_a_strange_cgroup_file) {
  for (const char* text : {"", ":", "::", "0::", "nonsense", "3:cpu", "\n\n0::\n"}) {
    write("proc/self/cgroup", text);
    EXPECT_EQ(usable_cpus(sources), 64) << '"' << text << '"';
  }
}

TEST_F(CpuCount, F1_is_bound_by_the_variable) {
  sources.limit = "5";
  EXPECT_EQ(usable_cpus(sources), 5);
  sources.limit = " 6 ";
  EXPECT_EQ(usable_cpus(sources), 6);
  sources.limit = "1000";
  EXPECT_EQ(usable_cpus(sources), 64);
}

TEST_F(CpuCount, F1_tolerates_what_it_does_not_understand_in_the_variable) {
  for (const char* text : {"", " ", "max", "-1", "4 cores", "2.5", "0x4", "99999999999999999999999"}) {
    sources.limit = text;
    EXPECT_EQ(usable_cpus(sources), 64) << '"' << text << '"';
  }
}

TEST_F(CpuCount, F1_is_never_below_one) {
  sources.limit = "0";
  EXPECT_EQ(usable_cpus(sources), 1);
  EXPECT_EQ(physical_cores(sources), 1);
  sources.limit = "";
  sources.online = 0;
  EXPECT_EQ(usable_cpus(sources), 1);
}

TEST_F(CpuCount, F1_is_the_least_of_all) {
  use_v2("/job");
  write("sys/fs/cgroup/job/cpu.max", "700000 100000\n");
  sources.affinity = cpus(6);
  sources.online = 5;
  sources.limit = "4";
  EXPECT_EQ(usable_cpus(sources), 4);
  sources.limit = "";
  EXPECT_EQ(usable_cpus(sources), 5);
  sources.online = 64;
  EXPECT_EQ(usable_cpus(sources), 6);
  sources.affinity = cpus(64);
  EXPECT_EQ(usable_cpus(sources), 7);
}

class PhysicalCores : public CpuCount {
 protected:
  // Four cores of two hardware threads: 0 and 4, 1 and 5, …
  PhysicalCores() {
    sources.affinity = cpus(8);
    write("sys/devices/system/cpu/online", "0-7\n");
  }
  void topology(int cpu, const std::string& file, const std::string& text) const {
    write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + file, text + "\n");
  }
  void write_siblings() const {
    for (int cpu = 0; cpu < 8; ++cpu) {
      topology(cpu, "thread_siblings_list", std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
    }
  }
};

TEST_F(PhysicalCores, F2_count_hardware_threads_once) {
  write_siblings();
  EXPECT_EQ(usable_cpus(sources), 8);
  EXPECT_EQ(physical_cores(sources), 4);
}

TEST_F(PhysicalCores, F2_count_only_those_behind_the_affinity) {
  write_siblings();
  sources.affinity = {0, 4, 1};
  EXPECT_EQ(physical_cores(sources), 2);
  sources.affinity = {4, 5, 6};
  EXPECT_EQ(physical_cores(sources), 3);
}

TEST_F(PhysicalCores, F2_are_told_apart_by_core_and_package_without_siblings) {
  for (int cpu = 0; cpu < 8; ++cpu) {
    topology(cpu, "core_id", std::to_string(cpu % 2));
    topology(cpu, "physical_package_id", std::to_string(cpu / 4));
  }
  EXPECT_EQ(physical_cores(sources), 4);
}

TEST_F(PhysicalCores, F2_are_the_cpus_where_no_topology_is_known) { EXPECT_EQ(physical_cores(sources), 8); }

TEST_F(PhysicalCores, F2_never_exceed_the_users_limits) {
  write_siblings();
  sources.limit = "3";
  EXPECT_EQ(physical_cores(sources), 3);
  sources.limit = "";
  use_v2("/job");
  write("sys/fs/cgroup/job/cpu.max", "150000 100000\n");
  EXPECT_EQ(physical_cores(sources), 2);
}

TEST(CpuCountOfThisMachine, F1_is_at_most_the_affinity_and_follows_the_variable) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  ::unsetenv("YOKE_MAX_CPU_COUNT");
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_LE(usable_cpus(), CPU_COUNT(&set));
  EXPECT_GE(physical_cores(), 1);
  EXPECT_LE(physical_cores(), usable_cpus());
  ::setenv("YOKE_MAX_CPU_COUNT", "1", 1);
  EXPECT_EQ(usable_cpus(), 1);
  ::unsetenv("YOKE_MAX_CPU_COUNT");
}

}  // namespace
