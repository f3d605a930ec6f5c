// A fully static program, for linking_test.sh: it calls yoke::init itself, unless told not to. Prints 41.
#include <yoke/yoke.hpp>
#include <iostream>

int twice(int value) { return 2 * value; }

int main(int argc, char** argv) try {
  if (argc == 1) yoke::init(argc, argv);
  yoke::ProcessPoolExecutor executor(1);
  std::cout << executor.submit(twice, 10).get() + 21 << '\n';
} catch (const yoke::BrokenProcessPool& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
