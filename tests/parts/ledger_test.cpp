// What a pool counts and waits for: deaths and their budget, starts that failed, what is lacking, how long tasks run,
// and whether it still takes tasks. By a clock that the tests turn.
#include <gtest/gtest.h>

#include "lib/local/deaths.hpp"
#include "lib/local/launch_retries.hpp"
#include "lib/local/liveness_scan.hpp"
#include "lib/local/shortage.hpp"
#include "lib/pool/admission.hpp"
#include "lib/pool/run_times.hpp"

namespace {

using namespace std::chrono_literals;
using namespace yoke;
using namespace yoke::local;

const Clock::time_point start{1000s};

DeathPtr death(system::ExitStatus status = system::Signaled{11, false}) {
  auto one = std::make_shared<pool::Death>();
  one->pid = 1;
  one->status = status;
  return one;
}
std::string text_of(const std::shared_ptr<const Failure>& failure) {
  try {
    std::rethrow_exception(failure->make(""));
  } catch (const std::exception& error) {
    return error.what();
  }
}

TEST(Deaths, the_budget_is_spent_by_deaths_without_a_result_between_them) {
  Deaths deaths({.deaths = 2, .within = 10s});
  EXPECT_FALSE(deaths.spend(death(), start, 0));
  EXPECT_FALSE(deaths.spend(death(), start + 1s, 0));
  const auto failure = deaths.spend(death(), start + 2s, 0);
  ASSERT_TRUE(failure);
  EXPECT_NE(text_of(failure).find("3 workers died within 10 s"), std::string::npos) << text_of(failure);
  EXPECT_NE(text_of(failure).find("restart_budget"), std::string::npos);
}

TEST(Deaths, a_result_between_them_is_progress) {
  Deaths deaths({.deaths = 1, .within = 10s});
  for (std::uint64_t results = 1; results != 100; ++results) EXPECT_FALSE(deaths.spend(death(), start, results));
  EXPECT_TRUE(deaths.spend(death(), start, 99));
}

TEST(Deaths, old_ones_are_forgotten) {
  Deaths deaths({.deaths = 1, .within = 10s});
  for (int i = 0; i != 100; ++i) EXPECT_FALSE(deaths.spend(death(), start + i * 11s, 0));
  EXPECT_TRUE(deaths.spend(death(), start + 99 * 11s + 10s, 0));
}

TEST(Deaths, a_memory_without_end) {
  for (const auto within : {std::chrono::seconds::max(), std::chrono::seconds(10'000'000'000)}) {
    Deaths deaths({.deaths = 1, .within = within});
    EXPECT_FALSE(deaths.spend(death(), start, 0));
    EXPECT_TRUE(deaths.spend(death(), start + 100h, 0));
  }
}

TEST(Deaths, a_budget_of_none) { EXPECT_TRUE(Deaths({.deaths = 0, .within = 10s}).spend(death(), start, 5)); }

TEST(Deaths, by_cause_and_by_rank) {
  pool::Death of_memory = *death(system::Signaled{9, false});
  of_memory.out_of_memory = true;
  EXPECT_EQ(cause_of(KillReason::none, *death(system::Exited{3})), &DeathCounts::exited);
  EXPECT_EQ(cause_of(KillReason::none, *death(system::Signaled{9, false})), &DeathCounts::killed);
  EXPECT_EQ(cause_of(KillReason::none, of_memory), &DeathCounts::out_of_memory);
  EXPECT_EQ(cause_of(KillReason::over_memory, of_memory), &DeathCounts::over_memory_limit);
  EXPECT_EQ(cause_of(KillReason::not_started, *death()), &DeathCounts::misbehaved);
  EXPECT_EQ(cause_of(KillReason::misbehaved, *death()), &DeathCounts::misbehaved);
  Deaths deaths({});
  deaths.count(2, &DeathCounts::killed);
  deaths.count(2, &DeathCounts::timed_out);  // as its caller wanted
  deaths.count(0, &DeathCounts::cancelled);
  EXPECT_EQ(deaths.total(), 1u);
  EXPECT_EQ(deaths.of_rank(2), 1u);
  EXPECT_EQ(deaths.of_rank(0), 0u);
  EXPECT_EQ(deaths.of_rank(1000), 0u);
  EXPECT_EQ(deaths.by_cause().timed_out, 1u);
}

using Verdict = LaunchRetries::Verdict;

TEST(LaunchRetries, pauses_double_up_to_a_limit) {
  LaunchRetries retries(20s);
  auto now = start;
  for (const auto pause : {20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 640ms}) {
    EXPECT_EQ(retries.failed(now, true, false), Verdict::try_again);
    EXPECT_EQ(retries.next_try(), now + pause);
    retries.end_pause(now + pause - 1ms);
    EXPECT_TRUE(retries.pauses());
    now += pause;
    retries.end_pause(now);
    EXPECT_FALSE(retries.pauses());
  }
}

TEST(LaunchRetries, what_never_will_be_had_is_given_up_after_eight_tries) {
  LaunchRetries retries(20s);
  for (int i = 0; i != 7; ++i) EXPECT_EQ(retries.failed(start, false, false), Verdict::try_again);
  EXPECT_EQ(retries.failed(start, false, false), Verdict::give_up);
}

TEST(LaunchRetries, what_may_pass_fails_those_that_wait_after_a_while_and_is_tried_anew) {
  LaunchRetries retries(5s);
  EXPECT_EQ(retries.failed(start, true, false), Verdict::try_again);
  EXPECT_EQ(retries.failed(start + 4999ms, true, false), Verdict::try_again);
  EXPECT_EQ(retries.failed(start + 5s, true, false), Verdict::fail_waiting);
  EXPECT_EQ(retries.failed(start + 6s, true, false), Verdict::try_again);
}

TEST(LaunchRetries, other_workers_are_a_reason_to_go_on) {
  LaunchRetries retries(1s);
  for (int i = 0; i != 100; ++i) EXPECT_EQ(retries.failed(start + i * 1s, i % 2 == 0, true), Verdict::try_again);
}

TEST(LaunchRetries, a_start_begins_the_count_anew) {
  LaunchRetries retries(20s);
  for (int i = 0; i != 7; ++i) retries.failed(start, false, false);
  retries.succeeded();
  EXPECT_FALSE(retries.pauses());
  EXPECT_EQ(retries.failed(start, false, false), Verdict::try_again);
  EXPECT_EQ(retries.tries(), 1);
}

TEST(LaunchRetries, a_limit_without_end_is_no_overflow) {
  LaunchRetries retries(std::chrono::milliseconds::max());
  EXPECT_EQ(retries.failed(start, true, false), Verdict::try_again);
  EXPECT_EQ(retries.failed(start + 20s, true, false), Verdict::fail_waiting);
}

TEST(Shortage, it_has_its_time) {
  Shortage shortage;
  EXPECT_FALSE(shortage.again_at());
  EXPECT_TRUE(shortage.met(start));
  EXPECT_EQ(shortage.again_at(), start + 10ms);
  shortage.begin_try();
  EXPECT_FALSE(shortage.again_at());
  EXPECT_TRUE(shortage.met(start + 19s));
  EXPECT_FALSE(shortage.met(start + 20s));
  shortage.over();
  EXPECT_TRUE(shortage.met(start + 21s));
}

TEST(LivenessScan, once_a_period_and_what_was_submitted_between_two) {
  LivenessScan scan;
  EXPECT_TRUE(scan.begin(start, 5));
  EXPECT_FALSE(scan.quiet());
  EXPECT_FALSE(scan.begin(start + 99ms, 6));
  EXPECT_TRUE(scan.begin(start + 100ms, 5));
  EXPECT_TRUE(scan.quiet());
  EXPECT_EQ(scan.next(), start + 200ms);
}

TEST(RunTimes, a_long_task_counts_for_some_of_the_mean_only) {
  pool::RunTimes times;
  EXPECT_FALSE(times.known());
  times.add(1000);
  EXPECT_EQ(times.mean_ns(), 1000);
  times.add(1'000'000'000);
  EXPECT_EQ(times.mean_ns(), 1375);
  times.raise_to(1000);
  EXPECT_EQ(times.mean_ns(), 1375);
  times.raise_to(5000);
  EXPECT_EQ(times.mean_ns(), 5000);
}

TEST(RunTimes, where_nothing_else_shows_it_a_long_task_counts_at_once) {
  pool::RunTimes times(pool::RunTimes::Outlier::whole);
  times.add(1000);
  times.add(1'000'000'000);
  EXPECT_GT(times.mean_ns(), 100'000'000);
}

TEST(Admission, its_states) {
  using State = pool::Admission::State;
  pool::Admission admission;
  EXPECT_TRUE(admission.accepts());
  EXPECT_NO_THROW(admission.check());
  admission.close();
  EXPECT_EQ(admission.state(), State::draining);
  EXPECT_FALSE(admission.gives_up());
  EXPECT_THROW(admission.check(), ShutdownExecutorError);
  EXPECT_TRUE(admission.kill());
  EXPECT_FALSE(admission.kill());
  admission.close();
  EXPECT_TRUE(admission.killing());
  EXPECT_TRUE(admission.gives_up());
}

TEST(Admission, the_first_cause_stays_and_is_told_first) {
  pool::Admission admission;
  EXPECT_TRUE(admission.break_with(std::make_shared<pool::TextFailure<BrokenProcessPool>>("first")));
  EXPECT_FALSE(admission.break_with(std::make_shared<pool::TextFailure<BrokenProcessPool>>("second")));
  EXPECT_FALSE(admission.closed()) << "it has still to be shut down";
  admission.close();
  try {
    admission.check();
    ADD_FAILURE() << "a broken pool takes no task";
  } catch (const BrokenProcessPool& error) {
    EXPECT_STREQ(error.what(), "first");
  }
}

}  // namespace
