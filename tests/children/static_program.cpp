// A fully static program, for linking_test.sh: it calls yoke::init itself, unless told not to. Prints 41.
#include <iostream>
#include <stdexcept>
#include <yoke/yoke.hpp>

int twice(int value) { return 2 * value; }
int refuse() { throw std::out_of_range("21"); }

int main(int argc, char** argv) try {
  if (argc == 1) yoke::init(argc, argv);
  yoke::ProcessPoolExecutor executor(1);
  const int twenty = executor.submit(twice, 10).get();
  try {
    executor.submit(refuse).get();
  } catch (const std::out_of_range& error) {
    std::cout << twenty + std::stoi(error.what()) << '\n';
  }
} catch (const yoke::BrokenProcessPool& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
