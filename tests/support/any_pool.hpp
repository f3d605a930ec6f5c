// The same tests for every pool that there is: what holds for one pool behind the waist holds for all.
//
// Instantiate with YOKE_ANY_POOL(SuiteName). In-process pools run one task at a time, in order: tests of this fixture
// must not need two at once.
#pragma once

#include <memory>

#include "tests/support/pool_fixture.hpp"
#include "yoke/remote.hpp"

namespace yoke_test {

struct PoolKind {
  const char* name;
  std::shared_ptr<yoke::Pool> (*make)(const yoke::ExecutorOptions& options);
};
inline const PoolKind local_pool{"Local", &yoke::make_process_pool};
inline const PoolKind in_process_pool{"InProcess", &yoke::make_in_process_pool};
/// Behind an agent, as on another machine, but started without a carrier.
inline std::shared_ptr<yoke::Pool> make_agent_pool(const yoke::ExecutorOptions& options) {
  return std::make_shared<yoke::RemotePool>(
      yoke::RemoteOptions{.hosts = {{"here", yoke::launchers::local(), options.max_workers}}, .worker = options});
}
inline const PoolKind agent_pool{"Agent", &make_agent_pool};

class AnyPoolTest : public HouseTest, public testing::WithParamInterface<PoolKind> {
 protected:
  void SetUp() override {
    HouseTest::SetUp();
    executor.emplace(GetParam().make({.max_workers = 2, .initializer = yoke::initializer(start_late_now_and_then)}));
  }
  void TearDown() override {
    shut_down_in_time(*executor);
    executor.reset();
    HouseTest::TearDown();
  }
  bool in_process() const { return std::string(GetParam().name) == in_process_pool.name; }
  /// A task that runs until word `gate` is added to, and has been started.
  yoke::Future<int> busy(unsigned entered, unsigned gate) {
    const auto before = board.get(entered);
    auto future = executor->submit(pass_gate, board, entered, gate);
    board.wait_for(entered, before + 1);
    // An agent tells of a start a moment later.
    if (std::string(GetParam().name) == agent_pool.name) wait_until([&] { return future.running(); }, "a start");
    return future;
  }
  /// The same in every worker that there can be, so that nothing else is started.
  std::vector<yoke::Future<int>> all_busy(unsigned entered, unsigned gate) {
    std::vector<yoke::Future<int>> all;
    all.push_back(busy(entered, gate));
    if (!in_process()) all.push_back(busy(entered, gate));
    return all;
  }

  std::optional<yoke::Executor> executor;
};

}  // namespace yoke_test

#define YOKE_ANY_POOL(Suite)                                                                                   \
  INSTANTIATE_TEST_SUITE_P(                                                                                    \
      Pools, Suite, testing::Values(yoke_test::local_pool, yoke_test::in_process_pool, yoke_test::agent_pool), \
      [](const testing::TestParamInfo<yoke_test::PoolKind>& kind) { return std::string(kind.param.name); })
