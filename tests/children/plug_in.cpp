// A plug-in that uses worker processes, opened by hosts that are not linked to the library, for linking_test.sh.
#include <stdexcept>
#include <string>
#include <vector>
#include <yoke/yoke.hpp>

namespace {

struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};
int twice(int value) { return 2 * value; }
int refuse() { throw Refused("refused"); }
[[gnu::noinline]] int fall_over() { return *static_cast<volatile int*>(nullptr); }
int twice_by_another(int value) {  // the worker is a host of the same kind
  yoke::ProcessPoolExecutor inner(1);
  return inner.submit(twice, value).get();
}

template <class F>
std::string error_of(yoke::ProcessPoolExecutor& pool, F task) {
  try {
    pool.submit(task).get();
  } catch (const std::exception& error) {
    const auto* thrown = dynamic_cast<const yoke::RemoteException*>(&error);
    return error.what() + (thrown && !thrown->frames().empty() ? " by " + thrown->frames().front() : "");
  }
  return "nothing was thrown";
}

std::string try_all() {
  yoke::ProcessPoolExecutor pool(2);
  const std::vector<int> values{1, 2, 3};
  std::string said = "sum " + std::to_string(pool.submit([](int value) { return value + 1; }, 20).get() +
                                             pool.submit(twice, 10).get());
  for (const int value : pool.map(twice, values)) said += ", " + std::to_string(value);
  said += "; nested " + std::to_string(pool.submit(twice_by_another, 4).get());
  said += "; thrown " + error_of(pool, refuse);
  return said + "; died: " + error_of(pool, fall_over);
}

}  // namespace

YOKE_EXCEPTION(Refused)

extern "C" __attribute__((visibility("default"))) const char* try_workers() {
  static std::string said;
  try {
    said = try_all();
  } catch (const std::exception& error) {
    said = error.what();
  }
  return said.c_str();
}
