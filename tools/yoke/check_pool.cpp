// The proof of the pudding.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <yoke/yoke.hpp>

#include "finding.hpp"

namespace yoke::tools {
namespace {

int pid_there() { return ::getpid(); }

}  // namespace

void check_pool(Findings& findings) {
  try {
    const auto begin = std::chrono::steady_clock::now();
    ProcessPoolExecutor pool(1);
    const int pid = pool.submit(pid_there).get();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (pid == ::getpid())
      findings.push_back(
          {"worker", Verdict::note, "a task ran in this process", "YOKE_IN_PROCESS=1 is set: no workers are used"});
    else
      findings.push_back(
          {"worker", Verdict::ok, fmt::format("ran a task, {:.1f} ms after it was asked for", took.count()), {}});
  } catch (const std::exception& error) {
    findings.push_back({"worker", Verdict::missing, "could not run a task", error.what()});
  }
}

}  // namespace yoke::tools
