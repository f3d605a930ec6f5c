#include "tests/children/linked_tasks.hpp"

namespace {
int quadruple(int value) { return 4 * value; }
}  // namespace

int triple_in_library(int value) { return 3 * value; }

yoke::Future<int> submit_hidden(yoke::Executor& executor, int value) { return executor.submit(quadruple, value); }

yoke::Future<int> submit_library_lambda(yoke::Executor& executor, int value) {
  return executor.submit([](int v) { return 5 * v; }, value);
}
