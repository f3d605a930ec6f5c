// What `yoke doctor` finds, one line each.
#pragma once

#include <string>
#include <vector>

namespace yoke::tools {

enum class Verdict {
  ok,
  note,    // the pool runs, at a cost
  missing  // no worker can run
};

struct Finding {
  std::string name;
  Verdict verdict = Verdict::ok;
  std::string found;
  std::string cost;  // what it costs, or what to do; empty if nothing
};

using Findings = std::vector<Finding>;

/// System calls, and the start of a program.
void check_kernel(Findings& findings);
/// Limits of this process: what it may open and start.
void check_limits(Findings& findings);
/// Processors, memory, core dumps, confinement.
void check_machine(Findings& findings);
/// A task in a worker: the proof.
void check_pool(Findings& findings);

}  // namespace yoke::tools
