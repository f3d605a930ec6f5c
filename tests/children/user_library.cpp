// A user's shared library whose functions are the tasks, for linking_test.sh: linked to a program, or opened by it
// later.
#include <yoke/yoke.hpp>

namespace {
int twice(int value) { return 2 * value; }  // hidden: no symbol leads to it
}  // namespace

extern "C" __attribute__((visibility("default"))) int sum_of_library_tasks() {
  yoke::ProcessPoolExecutor executor(1);
  auto one = executor.submit([](int value) { return value + 1; }, 20);
  auto other = executor.submit(twice, 10);
  return one.get() + other.get();
}
