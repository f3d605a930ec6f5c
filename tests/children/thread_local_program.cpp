// A program with much static thread-local storage, of which glibc makes room in each thread's stack. Prints 41.
#include <iostream>
#include <yoke/yoke.hpp>

thread_local char scratch[3 << 20];

int twice(int value) {
  scratch[0] = static_cast<char>(value);
  scratch[sizeof scratch - 1] = static_cast<char>(value);
  return scratch[0] + scratch[sizeof scratch - 1];
}

int main() {
  yoke::ProcessPoolExecutor executor(2);
  std::cout << executor.submit(twice, 20).get() + 1 << '\n';
}
