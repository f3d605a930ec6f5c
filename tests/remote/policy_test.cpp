// What a fleet decides, as tables: no process is started, and the clock is the test's own.
#include "lib/remote/policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "lib/pool/retries.hpp"
#include "lib/protocol/stream.hpp"
#include "lib/remote/link.hpp"
#include "lib/remote/start_record.hpp"

namespace yoke::remote {
namespace {

using namespace std::chrono_literals;
using Exit = std::optional<system::ExitStatus>;

const Clock::time_point start = Clock::time_point(1h);

TEST(Window, is_wide_for_short_tasks_alone) {
  struct Row {
    double mean_ns;
    int workers;
    std::size_t tasks;
  };
  for (const auto& [mean_ns, workers, tasks] : {
           Row{0, 4, 4},            // not known yet
           Row{1e9, 4, 4},          // long: none ahead
           Row{20e6, 1, 1}, Row{10e6, 1, 2}, Row{1e6, 4, 44},         // ten ahead of each
           Row{1, 2, 2 * 4097},     // no more than so many
       })
    EXPECT_EQ(window(mean_ns, workers), tasks) << mean_ns << " ns, " << workers << " workers";
}

TEST(Hosts, a_task_goes_where_least_is_to_be_done) {
  constexpr std::size_t much = std::size_t{8} << 20;
  const HostView idle{true, true, 4, 0, 0};
  const HostView half{true, true, 4, 2, 0};
  const HostView small_half{true, true, 2, 1, 0};
  const HostView full{true, true, 4, 4, 0};
  const HostView clogged{true, true, 4, 0, much};
  const HostView other_build{true, false, 4, 0, 0};
  const HostView away{false, true, 4, 0, 0};
  struct Row {
    std::string what;
    std::vector<HostView> hosts;
    bool has_name;
    std::optional<std::size_t> chosen;
  };
  const std::vector<Row> rows{
      {"there is no host", {}, false, {}},
      {"none serves", {away, away}, false, {}},
      {"the idle one", {half, idle}, false, 1},
      {"by load for each worker, the first of equals", {half, small_half}, false, 0},
      {"a full one has no room", {full, half}, false, 1},
      {"nor do any", {full, full}, false, {}},
      {"one that does not get its bytes waits", {clogged, half}, false, 1},
      {"another build cannot run it", {other_build, half}, false, 1},
      {"or it has a name", {other_build, half}, true, 0},
  };
  for (const Row& row : rows) EXPECT_EQ(choose_host(row.hosts, 0, row.has_name), row.chosen) << row.what;
}

using Phase = StartView::Phase;

TEST(Starts, those_that_failed_least_go_first_when_their_time_has_come) {
  const StartView due{Phase::waiting, start, 0};
  const StartView due_after_failures{Phase::waiting, start, 3};
  const StartView later{Phase::waiting, start + 5s, 0};
  const StartView other{};
  struct Row {
    std::string what;
    std::vector<StartView> hosts;
    std::optional<std::size_t> host;
    Clock::time_point at;
  };
  const std::vector<Row> rows{
      {"nothing to be started", {other}, {}, Clock::time_point::max()},
      {"the one that is due", {other, due}, 1, Clock::time_point::max()},
      {"the one that failed least", {due_after_failures, due}, 1, Clock::time_point::max()},
      {"one that waits says when", {later, other}, {}, start + 5s},
  };
  for (const Row& row : rows) {
    const NextStart next = next_start(row.hosts, start + 1s);
    EXPECT_EQ(next.host, row.host) << row.what;
    EXPECT_EQ(next.at, row.at) << row.what;
  }
}

TEST(Starts, only_eight_are_young_at_a_time) {
  const auto now = start + 2s;
  std::vector<StartView> hosts(9, StartView{Phase::starting, now - 400ms, 0});
  hosts[3].at = now - 700ms;
  hosts[8] = {Phase::waiting, start, 0};
  EXPECT_EQ(next_start(hosts, now).host, std::nullopt);
  EXPECT_EQ(next_start(hosts, now).at, now + 300ms) << "when the oldest has logged in";
  hosts[3].at = now - 1s;
  EXPECT_EQ(next_start(hosts, now).host, 8U);
}

TEST(Starts, patience_follows_the_last_start) {
  struct Row {
    int failures;
    std::optional<Clock::duration> last_took;
    Clock::duration patience;
  };
  for (const auto& [failures, last_took, patience] : {
           Row{0, {}, 60s},   // nothing is known: start_timeout
           Row{1, {}, 10s},   // every other time a short one
           Row{2, {}, 60s}, Row{1, 1s, 10s},   // it took a second
           Row{0, 1s, 20s}, Row{1, 5s, 20s},   // four times of what it took
           Row{0, 5s, 40s}, Row{0, 50s, 60s},  // never more than start_timeout
       })
    EXPECT_EQ(patience_with_start(failures, last_took, 60s), patience) << failures;
}

TEST(Starts, pauses_double_up_to_a_bound) {
  struct Row {
    int failures;
    bool hopeful;
    Clock::duration pause;
  };
  for (const auto& [failures, hopeful, pause] :
       {Row{0, true, 500ms}, Row{1, true, 1s}, Row{4, true, 8s}, Row{5, true, 10s}, Row{5, false, 16s},
        Row{6, false, 30s}, Row{1000, false, 30s}})
    EXPECT_EQ(pause_after(failures, hopeful), pause) << failures;
}

TEST(StartRecord, hope_ends_with_time_or_the_same_answer_five_times) {
  StartRecord broken;  // the connection breaks each time
  EXPECT_TRUE(broken.is_hopeful(start, 0s)) << "not tried";
  for (int i = 0; i < 20; ++i) {
    broken.begin(start, 60s);
    broken.failed(start, Exit(system::Exited{255}));
    broken.next_pause(start, 60s);
  }
  EXPECT_TRUE(broken.is_hopeful(start + 59s, 60s));
  EXPECT_FALSE(broken.is_hopeful(start + 60s, 60s));

  StartRecord refused;
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(refused.is_hopeful(start, 60s)) << i;
    refused.failed(start, Exit(system::Exited{1}));
    refused.next_pause(start, 60s);
  }
  EXPECT_FALSE(refused.is_hopeful(start, 60s));
  refused.failed(start, Exit(system::Exited{2}));
  EXPECT_TRUE(refused.is_hopeful(start, 60s)) << "another answer is another story";
}

TEST(StartRecord, what_served_well_begins_anew) {
  StartRecord record;
  record.begin(start, 60s);
  record.failed(start, {});
  EXPECT_EQ(record.next_pause(start, 60s), 500ms);
  record.begin(start, 60s);
  record.served_from(start + 1s);
  record.lost(start + 5s);
  EXPECT_EQ(record.next_pause(start + 5s, 60s), 1s) << "it served for four seconds";
  record.begin(start + 6s, 60s);
  record.served_from(start + 7s);
  record.lost(start + 17s);
  EXPECT_EQ(record.failures(), 0);
  EXPECT_EQ(record.next_pause(start + 17s, 60s), 500ms);
}

TEST(StartRecord, a_program_that_cannot_run_is_told_by_its_code) {
  struct Row {
    Exit status;
    bool useless;
  };
  for (const auto& [status, useless] : {Row{{}, false}, Row{system::Exited{126}, true}, Row{system::Exited{127}, true},
                                        Row{system::Exited{255}, false}, Row{system::Signaled{9, false}, false}})
    EXPECT_EQ(cannot_run(status), useless);
}

TEST(Silence, what_is_borne_is_longer_than_a_cut_can_explain) {
  struct Row {
    std::chrono::milliseconds lease, heartbeat, agent, client;
  };
  for (const auto& [lease, heartbeat, agent, client] :
       {Row{2s, 1s, 6s, 8s}, Row{60s, 5s, 126s, 136s}, Row{20ms, 10ms, 1050ms, 1070ms}}) {
    EXPECT_EQ(protocol::silence_of_agent(lease, heartbeat), agent);
    EXPECT_EQ(protocol::silence_of_client(lease, heartbeat), client);
  }
}

TEST(Retries, each_allows_one_more_start) {
  struct Row {
    std::uint32_t attempts;
    int retries;
    bool may;
  };
  for (const auto& [attempts, retries, may] :
       {Row{1, 0, false}, Row{1, 1, true}, Row{2, 1, false}, Row{3, 5, true}, Row{1, -1, false},
        Row{std::numeric_limits<std::uint32_t>::max(), std::numeric_limits<int>::max(), false}})
    EXPECT_EQ(pool::may_try_again(attempts, retries), may) << attempts << " of " << retries;
}

/// A link whose start came to so much.
class LinkTest : public testing::Test {
 protected:
  void begin() { link.start(start, 60s); }
  void serve() {
    begin();
    link.started({});
    link.welcomed({}, true, start + 1s, start + 2s);
  }
  Link link{0, Host{"a"}};
};

TEST_F(LinkTest, a_start_that_serves_and_stops) {
  EXPECT_EQ(link.phase(), LinkPhase::waiting);
  EXPECT_EQ(link.start_view().phase, Phase::waiting);
  begin();
  EXPECT_EQ(link.phase(), LinkPhase::starting);
  EXPECT_EQ(link.next_deadline(10s), start + 60s);
  link.started({});
  link.welcomed({}, true, start + 1s, start + 2s);
  EXPECT_EQ(link.phase(), LinkPhase::serving);
  EXPECT_TRUE(link.host_view().takes_tasks);
  link.stop(false, start + 20s);
  EXPECT_EQ(link.phase(), LinkPhase::stopping);
  EXPECT_FALSE(link.may_serve());
  EXPECT_TRUE(link.has_unwritten()) << "the agent is told";
  EXPECT_FALSE(link.let_go().served);
  EXPECT_EQ(link.phase(), LinkPhase::ended) << "one that was to end is not tried again";
}

TEST_F(LinkTest, one_that_is_lost_is_tried_again_as_new) {
  serve();
  const auto loss = link.let_go();
  EXPECT_TRUE(loss.served);
  EXPECT_EQ(link.phase(), LinkPhase::lost);
  EXPECT_EQ(link.info().state, HostState::waiting);
  EXPECT_EQ(link.start_view().phase, Phase::neither) << "while its carrier is ended";
  link.explain("the stream ended", loss);
  EXPECT_NE(link.trouble().find("host a: the stream ended"), std::string::npos);
  link.send_workers(3);
  EXPECT_TRUE(link.take_back().empty());
  EXPECT_FALSE(link.has_unwritten());
  link.record(loss, start + 3s);
  link.try_again_at(start + 4s);
  EXPECT_EQ(link.phase(), LinkPhase::waiting);
  EXPECT_EQ(link.start_view().at, start + 4s);
  begin();
}

TEST_F(LinkTest, a_start_that_was_not_found_is_hopeless) {
  begin();
  link.started({});
  auto loss = link.let_go();
  loss.status = system::Exited{127};
  link.record(loss, start);
  EXPECT_TRUE(link.is_hopeless());
  EXPECT_EQ(link.end(), nullptr);
  EXPECT_EQ(link.phase(), LinkPhase::ended);
  EXPECT_FALSE(link.is_hopeful(start, 60s));
}

TEST_F(LinkTest, output_beyond_the_window_is_refused) {
  serve();
  EXPECT_TRUE(link.hold_output(protocol::output_window));
  EXPECT_TRUE(link.hold_output(std::size_t{16} << 20)) << "what its workers' pipes still held";
  EXPECT_FALSE(link.hold_output(1));
  link.let_go_output(100);
  EXPECT_TRUE(link.hold_output(100));
}

#ifndef NDEBUG
TEST_F(LinkTest, a_change_that_its_phase_does_not_allow_is_caught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(link.stop(false, start), "phase_");
  EXPECT_DEATH(link.welcomed({}, true, start, start), "phase_");
  EXPECT_DEATH(link.try_again_at(start), "phase_");
  EXPECT_DEATH(static_cast<void>(link.let_go()), "phase_");
  begin();
  EXPECT_DEATH(link.start(start, 60s), "phase_");
}
#endif

}  // namespace
}  // namespace yoke::remote
