#include "bench/machine.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <tuple>
#include <utility>

namespace yoke::bench {
namespace {

std::string processor_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown processor";
}

/// Seconds that all processors were busy, and that there were, since the machine started.
std::pair<double, double> processor_times() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, io = 0, irq = 0, soft = 0, steal = 0;
  file >> cpu >> user >> nice >> system >> idle >> io >> irq >> soft >> steal;
  const double busy = user + nice + system + irq + soft + steal;
  const auto hertz = static_cast<double>(::sysconf(_SC_CLK_TCK));
  return {busy / hertz, (busy + idle + io) / hertz};
}

double own_seconds() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    ::getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime})
      seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  }
  return seconds;
}

}  // namespace

std::string describe_machine() {
  utsname system{};
  ::uname(&system);
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
#ifdef __clang__
  constexpr const char* compiler = "clang++ " __clang_version__;
#else
  constexpr const char* compiler = "g++ " __VERSION__;
#endif
#ifdef __OPTIMIZE__
  constexpr const char* optimized = "";
#else
  constexpr const char* optimized = ", NOT OPTIMIZED";
#endif
  return fmt::format("{} x {}, {} {}, {}{}, load {:.2f}", ::sysconf(_SC_NPROCESSORS_ONLN), processor_model(),
                     system.sysname, system.release, compiler, optimized, load);
}

OthersLoad::OthersLoad() : busy_(0), total_(0), own_(own_seconds()) { std::tie(busy_, total_) = processor_times(); }

double OthersLoad::share() const {
  const auto [busy, total] = processor_times();
  const double others = (busy - busy_) - (own_seconds() - own_);
  return total > total_ ? std::clamp(others / (total - total_), 0.0, 1.0) : 0;
}

void wait_for_calm(std::chrono::seconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < end) {
    const OthersLoad others;
    std::this_thread::sleep_for(std::chrono::seconds(1));
    if (others.share() < 0.05) return;
  }
}

}  // namespace yoke::bench
