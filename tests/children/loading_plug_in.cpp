// I14: a plug-in that uses pools while it is opened and closed, when the loader's lock is held. A worker of it opens it
// too.
#include <yoke/yoke.hpp>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

int twice(int value) { return 2 * value; }
[[gnu::noinline]] int fall() { return ::raise(SIGKILL); }

struct Opened {
  int answer = 0;
  Opened() {
    if (!std::getenv("YOKE_TEST_OPENS_PLUG_IN")) return;
    ::unsetenv("YOKE_TEST_OPENS_PLUG_IN");
    yoke::ProcessPoolExecutor pool(1);
    answer = pool.submit(twice, 21).get();
    try {
      pool.submit(fall).get();
    } catch (const yoke::TerminatedWorkerError&) {
      ++answer;
    }
    try {
      pool.submit([]() -> int { throw std::invalid_argument("no"); }).get();
    } catch (const std::invalid_argument&) {
      ++answer;
    }
    closed = std::make_unique<yoke::ProcessPoolExecutor>(2);
    kept = closed->submit(twice, 1);  // its workers start while the plug-in is closed, or not at all
  }
  yoke::Future<int> kept;
  std::unique_ptr<yoke::ProcessPoolExecutor> closed;
};
Opened opened;

}  // namespace

extern "C" __attribute__((visibility("default"))) int answer() { return opened.answer; }
