// The CPU quota of this process's cgroups. Thread-safe; no file that is missing or strange is an error.
#pragma once

#include <filesystem>

namespace yoke::system {

/// The least quota, in CPUs and rounded up, from this process's cgroup up to the mount; INT_MAX if there is none.
int cpu_quota(const std::filesystem::path& root);

}  // namespace yoke::system
