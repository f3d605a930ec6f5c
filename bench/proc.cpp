#include "bench/proc.hpp"

#include <fmt/format.h>

#include <fstream>
#include <string>

namespace yoke::bench {

double sum_of_lines(const std::filesystem::path& path, std::initializer_list<std::string_view> names) {
  std::ifstream file(path);
  double sum = 0;
  for (std::string line; std::getline(file, line);) {
    for (const std::string_view name : names) {
      if (!line.starts_with(name)) continue;
      const std::size_t digits = line.find_first_of("0123456789", name.size());
      if (digits != std::string::npos) sum += std::stod(line.substr(digits));
    }
  }
  return sum;
}

double private_kilobytes(pid_t pid) {
  return sum_of_lines(fmt::format("/proc/{}/smaps_rollup", pid), {"Private_Clean:", "Private_Dirty:"});
}
double resident_kilobytes(pid_t pid) { return sum_of_lines(fmt::format("/proc/{}/smaps_rollup", pid), {"Rss:"}); }
double available_bytes() { return sum_of_lines("/proc/meminfo", {"MemAvailable:"}) * 1024; }

}  // namespace yoke::bench
