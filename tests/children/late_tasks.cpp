// A module that its test opens with dlopen, after the pool's workers have started.
#include "tests/children/late_tasks.hpp"

#include <string>

#include "yoke/executor.hpp"

namespace {
int sextuple(int value) { return 6 * value; }
}  // namespace

extern "C" [[gnu::visibility("default")]] void submit_late(yoke::Executor& executor, int value,
                                                           yoke::Future<int>& future) {
  future = executor.submit(sextuple, value);
}

/// A reducer that sends one more.
extern "C" [[gnu::visibility("default")]] void add_late_reducer(yoke::Reducers& reducers) {
  reducers.add<LateValue>([](const LateValue& late) { return late.value + 1; },
                          [](int value) { return LateValue{value}; });
}

/// Makes a pool, for a program that does not link the library: what came of it.
extern "C" [[gnu::visibility("default")]] const char* try_pool() {
  static std::string said;
  try {
    yoke::ProcessPoolExecutor pool(1);
    said = "six times seven is " + std::to_string(pool.submit(sextuple, 7).get());
  } catch (const yoke::Error& error) {
    said = error.what();
  }
  return said.c_str();
}
