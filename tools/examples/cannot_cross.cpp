// A captured pointer is refused when the task is submitted.
#include <cstdio>
#include <yoke/yoke.hpp>

int main() {
  yoke::ProcessPoolExecutor pool(1);
  int total = 0;
  try {
    pool.submit(yoke::by_value([where = &total](int n) { *where += n; }), 2).get();
  } catch (const yoke::SerializationError& error) {
    std::printf("%s\n", error.what());
  }
  total += pool.submit([](int n) { return n; }, 2).get();  // give the result back instead
  std::printf("total %d\n", total);
}
