// A worker that leaks is replaced between two tasks; one whose task takes too much is ended, and the error says so.
#include <unistd.h>

#include <cstdio>
#include <set>
#include <vector>
#include <yoke/yoke.hpp>

using Memory = std::vector<std::vector<char>>;

void fill(Memory& memory, int megabytes) {
  for (int i = 0; i < megabytes; ++i) memory.emplace_back(1'000'000, 'x');
}
int remember(int megabytes) {
  static Memory cache;  // of an old library: it only ever grows
  fill(cache, megabytes);
  return getpid();
}
void balloon() {
  for (Memory memory;;) fill(memory, 1);
}

int main() {
  yoke::ProcessPoolExecutor pool(
      {.max_workers = 1, .recycle_worker_memory = 200'000'000, .max_worker_memory = 600'000'000});
  std::set<int> workers;
  for (int i = 0; i < 8; ++i) workers.insert(pool.submit(remember, 120).get());
  std::printf("960 MB were taken by several workers: %s\n", workers.size() > 1 ? "yes" : "no");
  try {
    pool.submit(balloon).get();
  } catch (const yoke::TerminatedWorkerError& error) {
    std::printf("%s\n", error.what());
  }
}
