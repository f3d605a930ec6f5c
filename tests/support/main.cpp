// main of the tests of pools: what the library keeps for the life of the process is there before the first test counts.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/house.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

class WarmUp : public testing::Environment {
 public:
  void SetUp() override {
    yoke::ProcessPoolExecutor pool(1);
    auto future = pool.submit(yoke_test::add_one, 1);
    std::promise<void> called;  // starts the callback thread
    future.add_done_callback([&](const auto&) { called.set_value(); });
    called.get_future().get();
    std::future<int>(pool.submit(yoke_test::add_one, 1)).get();  // starts the thread that hands results over
    yoke_test::look_around();
  }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  rlimit no_cores{};  // tests crash workers by the hundred
  ::getrlimit(RLIMIT_CORE, &no_cores);
  no_cores.rlim_cur = 0;
  ::setrlimit(RLIMIT_CORE, &no_cores);
  yoke_test::mark_descendants();
  testing::AddGlobalTestEnvironment(new WarmUp);
  return RUN_ALL_TESTS();
}
