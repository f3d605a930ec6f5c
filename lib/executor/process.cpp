// cpu_count: the public face of system/cpu_count.hpp.
#include "yoke/process.hpp"
#include "lib/system/cpu_count.hpp"

namespace yoke {

int cpu_count(CpuCount options) {
  return options.only_physical_cores ? system::physical_cores() : system::usable_cpus();
}

}  // namespace yoke
