// A module that its test opens with dlopen, after the pool's workers have started.
#include "yoke/executor.hpp"

namespace {
int sextuple(int value) { return 6 * value; }
}  // namespace

extern "C" [[gnu::visibility("default")]] void submit_late(yoke::Executor& executor, int value,
                                                           yoke::Future<int>& future) {
  future = executor.submit(sextuple, value);
}
