// The order in which waiting tasks are handed out.
#include "lib/pool/backlog.hpp"

#include <gtest/gtest.h>

#include <string>

#include "yoke/yoke.hpp"

namespace {

using namespace yoke;

void nothing(Call&) {}
Callable callable{&nothing, &typeid(void)};

TaskPtr task(const std::string& name, int priority = 0) {
  TaskPtr made(new detail::TaskOf<void>(callable, nullptr, Bytes()));
  made->set_options({.name = name, .priority = priority});
  return made;
}
std::string drain(pool::Backlog& backlog) {
  std::string names;
  while (const TaskPtr next = backlog.front()) {
    names += next->name();
    backlog.pop();
  }
  return names;
}

TEST(Backlog, first_come_first_served) {
  pool::Backlog backlog;
  EXPECT_TRUE(backlog.empty());
  for (const char* name : {"a", "b", "c"}) backlog.push_back(task(name));
  EXPECT_FALSE(backlog.empty());
  EXPECT_EQ(drain(backlog), "abc");
  EXPECT_TRUE(backlog.empty());
}

TEST(Backlog, higher_priorities_first) {
  pool::Backlog backlog;
  backlog.push_back(task("a", 0));
  backlog.push_back(task("b", 5));
  backlog.push_back(task("c", -5));
  backlog.push_back(task("d", 10));
  backlog.push_back(task("e", 5));
  backlog.push_back(task("f", 0));
  backlog.push_back(task("g", -1));
  EXPECT_EQ(drain(backlog), "dbeafgc");
}

TEST(Backlog, what_comes_back_goes_first_among_its_own) {
  pool::Backlog backlog;
  backlog.push_back(task("a"));
  backlog.push_back(task("b", 1));
  backlog.push_front(task("c"));
  backlog.push_front(task("d", 1));
  EXPECT_EQ(drain(backlog), "dbca");
}

TEST(Backlog, what_is_resolved_is_passed_over) {
  pool::Backlog backlog;
  std::vector<TaskPtr> tasks{task("a"), task("b", 3), task("c"), task("d", 3), task("e", -3), task("f", -3)};
  for (const auto& t : tasks) backlog.push_back(t);
  const auto cancel = [&](const TaskPtr& t) {
    t->resolve_cancelled();
    backlog.forget_one();
  };
  for (const std::size_t i : {0U, 1U, 4U}) cancel(tasks[i]);
  EXPECT_EQ(backlog.size(), 3u);
  EXPECT_EQ(drain(backlog), "dcf");
  for (const TaskPtr& t : {task("g"), task("h", 2)}) {
    backlog.push_back(t);
    cancel(t);
  }
  EXPECT_EQ(backlog.front(), nullptr);
  EXPECT_TRUE(backlog.empty());
}

TEST(Backlog, all_of_it_in_order) {
  pool::Backlog backlog;
  backlog.push_back(task("a"));
  backlog.push_back(task("b", 2));
  backlog.push_back(task("c"));
  EXPECT_EQ(backlog.size(), 3U);
  std::string names;
  for (const auto& t : backlog.take_all()) names += t->name();
  EXPECT_EQ(names, "bac");
  EXPECT_TRUE(backlog.empty());
}

TEST(Backlog, priorities_that_change_under_the_reader) {
  pool::Backlog backlog;
  backlog.push_back(task("a"));
  EXPECT_EQ(backlog.front()->name(), "a");
  backlog.pop();
  backlog.push_back(task("b", -1));
  EXPECT_EQ(backlog.front()->name(), "b");
  backlog.push_back(task("c", 0));
  EXPECT_EQ(backlog.front()->name(), "c");
  backlog.push_back(task("d", 1));
  EXPECT_EQ(drain(backlog), "dcb");
}

}  // namespace
