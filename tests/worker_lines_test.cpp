// What workers print, read as far as it is taken.
#include "lib/pool/worker_lines.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "yoke/clock.hpp"

namespace yoke::pool {
namespace {

constexpr std::size_t window = 100;

class WorkerLinesTest : public testing::Test {
 protected:
  static void print(int descriptor, std::string_view text) {
    ASSERT_EQ(::write(descriptor, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  /// What one look brings, as "rank:stream:text" each.
  std::vector<std::string> look() {
    system::Poller poller;
    lines.add_to(poller);
    EXPECT_FALSE(poller.wait(Clock::time_point{}));
    told.clear();
    lines.read(poller, tell);
    return told;
  }

  int changes = 0;
  WorkerLines lines{window, [this] { ++changes; }};
  std::vector<std::string> told;
  WorkerLines::Tell tell = [this](int rank, bool is_stderr, const std::string& text) {
    told.push_back(std::to_string(rank) + (is_stderr ? ":err:" : ":out:") + text);
  };
};

using Told = std::vector<std::string>;

TEST_F(WorkerLinesTest, whole_lines_are_told_of_each_stream) {
  const auto [out, err] = lines.descriptors_of(3);
  EXPECT_EQ(changes, 2);
  print(out, "one\ntwo\nthr");
  EXPECT_EQ(look(), Told{"3:out:one\ntwo\n"});
  print(out, "ee\n");
  print(err, "words\n");
  EXPECT_EQ(look(), (Told{"3:out:three\n", "3:err:words\n"}));
  EXPECT_EQ(look(), Told{});
}

TEST_F(WorkerLinesTest, one_that_takes_a_dead_ones_place_prints_into_the_same) {
  EXPECT_EQ(lines.descriptors_of(3), lines.descriptors_of(3));
  EXPECT_NE(lines.descriptors_of(3), lines.descriptors_of(4));
  EXPECT_EQ(changes, 4);
}

TEST_F(WorkerLinesTest, no_more_is_read_than_is_taken_and_each_has_its_turn) {
  const auto first = lines.descriptors_of(0)[0];
  const auto second = lines.descriptors_of(1)[0];
  const std::string line = std::string(window - 1, 'x') + '\n';
  print(first, line);
  print(second, line);
  EXPECT_EQ(look(), Told{"0:out:" + line});
  print(first, "again\n");
  EXPECT_EQ(look(), Told{}) << "nothing was taken";
  lines.taken(1);
  EXPECT_EQ(look(), Told{"1:out:" + line}) << "the other's turn";
  lines.taken(2 * window - 1);
  EXPECT_EQ(look(), Told{"0:out:again\n"});
}

TEST_F(WorkerLinesTest, at_the_end_the_rest_is_told_whatever_was_taken) {
  const auto [out, err] = lines.descriptors_of(0);
  print(out, std::string(2 * window, 'x') + "\nno end");
  lines.finish(tell);
  EXPECT_EQ(told, (Told{"0:out:" + std::string(2 * window, 'x') + "\n", "0:out:no end"}));
  EXPECT_EQ(look(), Told{}) << "nobody is listened to any more";
  static_cast<void>(err);
}

}  // namespace
}  // namespace yoke::pool
