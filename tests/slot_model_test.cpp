// The slot protocol in every interleaving: what may never happen does not, and each of its rules is needed for that.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/support/slot_model.hpp"

namespace {

using namespace yoke_test::slot_model;

/// Explores everything that can happen within the limits; says how much that was.
std::string violation(const Limits& limits) {
  Model model(limits);
  std::string found = model.explore();
  testing::Test::RecordProperty("states", std::to_string(model.states()));
  if (found.empty()) {
    std::printf("%zu states, %zu of them ends\n", model.states(), model.ends());
    EXPECT_GT(model.ends(), 0U);
  }
  return found;
}
std::string violation(Flaw flaw) { return violation(Limits{.tasks = 3, .flaw = flaw}); }

TEST(SlotModel, every_task_is_run_once_though_it_is_taken_back_at_any_time) {
  EXPECT_EQ(violation({.deaths = 0, .take_backs = 2}), "");
}

TEST(SlotModel, a_death_at_any_time_costs_at_most_the_task_that_was_started) {
  EXPECT_EQ(violation({.deaths = 1, .take_backs = 1}), "");
}

TEST(SlotModel, a_lost_task_is_tried_again_once) {
  EXPECT_EQ(violation({.tasks = 3, .deaths = 1, .take_backs = 1, .retries = 1}), "");
}

TEST(SlotModel, two_deaths_at_any_time) { EXPECT_EQ(violation({.tasks = 3, .deaths = 2, .take_backs = 1}), ""); }

// Each rule is needed: without it the model finds what goes wrong.

TEST(SlotModel, finds_what_comes_of_changing_a_state_without_looking) {
  EXPECT_EQ(violation(Flaw::start_without_looking), "a task is run that was taken back");
  EXPECT_EQ(violation(Flaw::take_back_without_looking), "a task is run twice");
}

TEST(SlotModel, finds_what_comes_of_words_without_a_position) { EXPECT_NE(violation(Flaw::word_without_position), ""); }

TEST(SlotModel, finds_what_comes_of_telling_a_result_before_it_is_there) {
  EXPECT_EQ(violation(Flaw::sequence_before_result), "a result is taken for another task's");
}

TEST(SlotModel, finds_what_comes_of_sleeping_without_a_second_look) {
  EXPECT_EQ(violation(Flaw::sleep_without_looking_again), "a task waits for ever");
}

TEST(SlotModel, finds_what_comes_of_not_collecting_from_the_dead) {
  EXPECT_EQ(violation(Flaw::bury_without_collecting), "a task is lost whose result was published");
}

TEST(SlotModel, finds_what_comes_of_burying_the_living) { EXPECT_NE(violation(Flaw::bury_the_living), ""); }

TEST(SlotModel, finds_what_comes_of_judging_the_dead_workers_tasks_wrongly) {
  EXPECT_EQ(violation(Flaw::hand_on_what_was_started), "a task that was started is tried again");
  EXPECT_EQ(violation(Flaw::fail_what_was_not_started), "a task is lost that was not started");
}

TEST(SlotModel, finds_what_comes_of_filling_a_slot_too_early) { EXPECT_NE(violation(Flaw::fill_slots_in_use), ""); }

}  // namespace
