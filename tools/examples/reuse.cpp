// One pool for the whole program: whoever asks gets the same workers.
#include <unistd.h>

#include <cstdio>
#include <yoke/yoke.hpp>

int worker_pid() { return getpid(); }

int main() {
  auto first = yoke::get_reusable_executor({.max_workers = 1});
  const int pid = first.submit(worker_pid).get();
  auto second = yoke::get_reusable_executor({.max_workers = 1});
  std::printf("reused: %s\n", second.reused() ? "yes" : "no");
  std::printf("same worker: %s\n", second.submit(worker_pid).get() == pid ? "yes" : "no");
  auto third = yoke::get_reusable_executor({.max_workers = 1, .env = {{"LANG", "C"}}});
  std::printf("other environment, reused: %s\n", third.reused() ? "yes" : "no");
}
