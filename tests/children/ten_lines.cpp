// A small program that uses the library, for linking_test.sh: main knows nothing of workers. Prints 41.
#include <iostream>
#include <stdexcept>
#include <yoke/yoke.hpp>

int twice(int value) { return 2 * value; }
int refuse() { throw std::out_of_range("refused"); }

int main() {
  yoke::ProcessPoolExecutor executor(1);
  auto one = executor.submit([](int value) { return value + 1; }, 20);
  auto other = executor.submit(twice, 10);
  try {
    executor.submit(refuse).get();
  } catch (const std::out_of_range&) {
    std::cout << one.get() + other.get() << '\n';
  }
}
