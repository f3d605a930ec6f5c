// Resource limits and the cgroup's limit on processes.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <yoke/process.hpp>

#include "finding.hpp"
#include "lib/system/cgroups.hpp"

namespace yoke::tools {
namespace {

std::string limit_text(rlim_t limit) { return limit == RLIM_INFINITY ? "unlimited" : fmt::format("{}", limit); }

rlim_t soft_limit(__rlimit_resource resource) {
  rlimit limit{};
  return ::getrlimit(resource, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

// A worker has three threads at most and takes few descriptors in the parent; the program has its own.
constexpr std::uint64_t threads_per_worker = 3;
constexpr std::uint64_t descriptors_per_worker = 8;
constexpr std::uint64_t of_the_program = 32;

std::uint64_t workers() { return static_cast<std::uint64_t>(cpu_count()); }

Finding processes() {
  const rlim_t limit = soft_limit(RLIMIT_NPROC);
  const std::string found =
      fmt::format("limit {} (ulimit -u){}", limit_text(limit), ::geteuid() == 0 ? ", not applied to root" : "");
  if (::geteuid() == 0 || limit >= workers() * threads_per_worker + of_the_program)
    return {"processes", Verdict::ok, found, {}};
  return {"processes", Verdict::note, found,
          "all processes of this user count; a worker that cannot start is an error of its tasks"};
}

Finding descriptors() {
  const rlim_t limit = soft_limit(RLIMIT_NOFILE);
  const std::string found = fmt::format("limit {} (ulimit -n)", limit_text(limit));
  if (limit >= workers() * descriptors_per_worker + of_the_program) return {"descriptors", Verdict::ok, found, {}};
  return {"descriptors", Verdict::note, found, fmt::format("{} workers may not all start; raise it", workers())};
}

Finding address_space() {
  const rlim_t limit = soft_limit(RLIMIT_AS);
  if (limit == RLIM_INFINITY) return {"address space", Verdict::ok, "limit unlimited (ulimit -v)", {}};
  return {"address space", Verdict::note, fmt::format("limit {} bytes (ulimit -v)", limit),
          "large arguments and many workers may not find room"};
}

Finding cgroup_processes() {
  const auto groups = system::own_cgroups("pids");
  const auto most = groups.empty() ? std::nullopt : system::least_number(groups.front(), "pids.max");
  if (!most) return {"pids", Verdict::ok, "the cgroup sets no limit on processes", {}};
  const std::string now = system::read_line(groups.front().folders.front() / "pids.current");
  const std::string found = fmt::format("the cgroup allows {} processes and threads, {} are there", *most,
                                        now.empty() ? "an unknown number" : now);
  const std::uint64_t used = now.empty() ? 0 : std::strtoull(now.c_str(), nullptr, 10);
  if (used + workers() * threads_per_worker < *most) return {"pids", Verdict::ok, found, {}};
  return {"pids", Verdict::note, found, fmt::format("{} workers may not all start; raise pids.max", workers())};
}

}  // namespace

void check_limits(Findings& findings) {
  for (const auto check : {processes, descriptors, address_space, cgroup_processes}) findings.push_back(check());
}

}  // namespace yoke::tools
