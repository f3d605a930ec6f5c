// yoke doctor: all checks, printed.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "finding.hpp"
#include "usage.hpp"

namespace yoke::tools {
namespace {

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok: return "ok";
    case Verdict::note: return "note";
    case Verdict::missing: return "MISSING";
  }
  return "";
}

std::string as_json(const Findings& findings, bool can_run) {
  nlohmann::ordered_json out;
  out["can_run"] = can_run;
  out["findings"] = nlohmann::ordered_json::array();
  for (const auto& finding : findings)
    out["findings"].push_back(
        {{"name", finding.name}, {"verdict", word(finding.verdict)}, {"found", finding.found}, {"cost", finding.cost}});
  return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

int run_doctor(bool json) {
  Findings findings;
  check_kernel(findings);
  check_limits(findings);
  check_machine(findings);
  check_pool(findings);
  const bool can_run = std::none_of(findings.begin(), findings.end(),
                                    [](const Finding& finding) { return finding.verdict == Verdict::missing; });
  if (json) fmt::print("{}\n", as_json(findings, can_run));
  for (const auto& finding : findings) {
    if (json) break;
    fmt::print("{:<8} {:<14} {}{}{}\n", word(finding.verdict), finding.name, finding.found,
               finding.cost.empty() ? "" : "; ", finding.cost);
  }
  return can_run ? exit_status::success : exit_status::failure;
}

}  // namespace yoke::tools
