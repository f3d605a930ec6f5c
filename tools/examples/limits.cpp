// What a worker may take: descriptors, cores, threads of numerical libraries; and its environment.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <yoke/yoke.hpp>

long open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<long>(limit.rlim_cur);
}
std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

int main() {
  yoke::ProcessPoolExecutor pool({.max_workers = 1,
                                  .env = {{"LANG", "C"}},
                                  .inner_max_num_threads = 3,
                                  .limits = {.open_files = 64, .core_size = 0}});
  std::printf("descriptors at most: %ld\n", pool.submit(open_files).get());
  std::printf("LANG=%s\n", pool.submit(variable, "LANG").get().c_str());
  std::printf("OMP_NUM_THREADS=%s\n", pool.submit(variable, "OMP_NUM_THREADS").get().c_str());
  std::printf("processors to use: %s\n", yoke::cpu_count() >= 1 ? "one at least" : "none");
}
