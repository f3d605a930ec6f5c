// The same calls on other hosts. Here both are this machine; {.name = "n1"} alone would be a host that ssh knows.
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>
#include <yoke/remote.hpp>
#include <yoke/yoke.hpp>

int square(int x) {
  if (x < 0) throw std::domain_error("no square of a negative number today");
  return x * x;
}
int value_at(long address) { return *reinterpret_cast<const int*>(address); }
void greet() { std::puts("hello from a worker"); }

int main() {
  yoke::RemoteOptions options;
  options.hosts = {{.name = "a", .launcher = yoke::launchers::local()},
                   {.name = "b", .launcher = yoke::launchers::local()}};
  options.workers_per_host = 1;
  options.on_output = yoke::print_output;
  auto pool = std::make_shared<yoke::RemotePool>(options);
  yoke::Executor far(pool);
  std::printf("hosts: %d\n", pool->connect(std::chrono::seconds(30)));

  int sum = 0;
  for (const int y : far.map(square, std::vector{1, 2, 3, 4})) sum += y;
  std::printf("sum of squares: %d\n", sum);
  try {
    far.submit(square, -1).get();
  } catch (const std::domain_error& error) {
    std::printf("it threw: %s\n", error.what());
  }
  try {
    far.submit(value_at, 8).get();
  } catch (const yoke::TerminatedWorkerError& error) {
    std::printf("%s\n", error.what());
  }
  far.submit(greet).get();  // what it printed comes when its worker flushes it: at the end of the pool at the latest
}
