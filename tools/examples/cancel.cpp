// A task that waits is cancelled at once; one that runs only if its worker may be killed.
#include <unistd.h>

#include <cstdio>
#include <thread>
#include <yoke/yoke.hpp>

int wait_for_ever() {
  for (;;) ::pause();
}
int answer() { return 42; }

int main() {
  yoke::ProcessPoolExecutor pool(1);
  const auto first = pool.submit(wait_for_ever);
  const auto second = pool.submit(answer);
  while (!first.running()) std::this_thread::yield();
  std::printf("second: cancelled %d\n", second.cancel());
  std::printf("first: cancelled %d\n", first.cancel());
  std::printf("first: killed %d\n", first.cancel(yoke::CancelMode::kill));
  try {
    first.result();
  } catch (const yoke::CancelledError& error) {
    std::printf("%s\n", error.what());
  }
  std::printf("the pool goes on: %d\n", pool.submit(answer).get());
  std::printf("deaths unasked: %d\n", static_cast<int>(pool.stats().deaths));
}
