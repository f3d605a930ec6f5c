// A task that hangs is ended when its time is over, and may be tried again.
#include <chrono>
#include <cstdio>
#include <thread>
#include <yoke/yoke.hpp>

using namespace std::chrono_literals;

int sleep_for(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return milliseconds;
}

int main() {
  yoke::ProcessPoolExecutor pool;
  auto hangs = pool.submit({.timeout = 100ms, .retries = 1}, sleep_for, 86'400'000);
  auto works = pool.submit({.timeout = 60s}, sleep_for, 10);
  std::printf("slept %d ms\n", works.get());
  try {
    hangs.get();
  } catch (const yoke::TimeoutError& error) {
    std::printf("%s\n", error.what());
  }
}
