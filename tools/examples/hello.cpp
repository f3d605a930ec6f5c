// A function call in another process.
#include <unistd.h>

#include <cstdio>
#include <yoke/yoke.hpp>

int add(int a, int b) { return a + b; }

int main() {
  yoke::ProcessPoolExecutor pool;
  auto sum = pool.submit(add, 2, 3);
  auto where = pool.submit([] { return getpid(); });
  std::printf("2 + 3 = %d\n", sum.get());
  std::printf("program %d, worker %d\n", getpid(), where.get());
}
