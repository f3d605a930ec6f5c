// B1 to B8, B11, B12: map. For every pool.
#include <malloc.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <forward_list>
#include <future>
#include <list>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/any_pool.hpp"
#include "tests/support/generated.hpp"

namespace {

using namespace yoke_test;

enum Word : unsigned { entered, gate, ran };

int add(int a, int b) { return a + b; }
std::string join(const std::string& a, int b) { return a + std::to_string(b); }
int odd_fails(int value) {
  if (value % 2 != 0) throw std::domain_error("odd: " + std::to_string(value));
  return value;
}
std::string odd_text_fails(int value) { return std::to_string(odd_fails(value)); }
int counted(const Board& board, int value) {
  board.add(ran);
  return value;
}

std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}
std::vector<int> plus_one(std::vector<int> values) {
  for (int& value : values) ++value;
  return values;
}

class MapTest : public AnyPoolTest {
 protected:
  void open_gate() { board.add(gate); }
};
YOKE_ANY_POOL(MapTest);

TEST_P(MapTest, B1_in_order) { EXPECT_EQ(executor->map(add_one, numbers(1000)).get(), plus_one(numbers(1000))); }

TEST_P(MapTest, B1_zips_up_to_the_shortest) {
  const std::list<int> longer{1, 2, 3, 4, 5};
  EXPECT_EQ(executor->map(add, numbers(3), longer).get(), (std::vector<int>{1, 3, 5}));
  EXPECT_EQ(executor->map(add, longer, std::vector<int>{}).get(), std::vector<int>{});
  EXPECT_EQ(executor->map(join, std::vector<const char*>{"a", "b"}, Generated([](int i) { return i + 1; })).get(),
            (std::vector<std::string>{"a1", "b2"}));
}

TEST_P(MapTest, B1_over_every_kind_of_range) {
  EXPECT_EQ(executor->map(add_one, std::forward_list<int>{1, 2, 3}).get(), (std::vector<int>{2, 3, 4}));
  EXPECT_EQ(executor->map(add_one, Generated(same, 4)).get(), (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(executor->map(add_one, std::array<int, 2>{4, 5}).get(), (std::vector<int>{5, 6}));
  EXPECT_EQ(executor->map(add_one, std::set<int>{9, 7}).get(), (std::vector<int>{8, 10}));
}

TEST_P(MapTest, B1_of_callables_with_a_state) {
  int factor = 3;
  EXPECT_EQ(executor->map(yoke::by_value([factor](int v) { return v * factor; }), numbers(4)).get(),
            (std::vector<int>{0, 3, 6, 9}));
  EXPECT_EQ(executor->map(yoke::bind(add, 10), numbers(3)).get(), (std::vector<int>{10, 11, 12}));
}

TEST_P(MapTest, B1_of_void_functions) {
  executor->map(yoke::bind([](const Board& b, int) { b.add(ran); }, board), numbers(100)).get();
  EXPECT_EQ(board.get(ran), 100U);
}

TEST_P(MapTest, B1_unordered_on_request) {
  std::multiset<int> values;
  for (const int value : executor->map({.chunksize = 3, .ordered = false}, add_one, numbers(100))) values.insert(value);
  const auto expected = plus_one(numbers(100));
  EXPECT_EQ(values, std::multiset<int>(expected.begin(), expected.end()));
}

TEST_P(MapTest, B2_an_exception_is_thrown_by_its_item_and_iteration_goes_on) {
  for (const std::size_t chunk : {1UL, 2UL, 7UL, 100UL}) {
    auto results = executor->map({.chunksize = chunk}, odd_fails, numbers(20));
    int i = 0;
    for (auto it = results.begin(); it != results.end(); ++it, ++i) {
      if (i % 2 == 0) {
        EXPECT_EQ(*it, i);
      } else {
        const auto error = thrown_by<std::domain_error>([&] { *it; });
        ASSERT_TRUE(error);
        EXPECT_EQ(error->what(), "odd: " + std::to_string(i));
      }
    }
    EXPECT_EQ(i, 20);
  }
}

TEST_P(MapTest, B2_the_same_with_values_that_are_packed) {
  auto results = executor->map({.chunksize = 5}, odd_text_fails, numbers(11));
  int right = 0, wrong = 0;
  for (auto it = results.begin(); it != results.end(); ++it) {
    try {
      (*it).size();
      ++right;
    } catch (const std::domain_error&) {
      ++wrong;
    }
  }
  EXPECT_EQ(right, 6);
  EXPECT_EQ(wrong, 5);
}

TEST_P(MapTest, B2_get_throws_the_first_exception) {
  const auto error = thrown_by<std::domain_error>([&] { executor->map(odd_fails, numbers(20)).get(); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "odd: 1");
}

TEST_P(MapTest, B3_the_timeout_counts_from_the_call) {
  auto results = executor->map({.chunksize = 1, .timeout = 20ms}, pass_gate, std::vector<Board>{board},
                               std::vector<unsigned>{entered}, std::vector<unsigned>{gate});
  EXPECT_THROW(results.get(), yoke::TimeoutError);
  open_gate();
  EXPECT_EQ(executor->map({.timeout = 60s}, add_one, numbers(3)).get(), (std::vector<int>{1, 2, 3}));
}

TEST_P(MapTest, B4_chunks_of_every_size) {
  constexpr int n = 50;
  for (const std::size_t chunk : {1UL, 2UL, n - 1UL, n + 0UL, n + 1UL, 10UL * n})
    EXPECT_EQ(executor->map({.chunksize = chunk}, add_one, numbers(n)).get(), plus_one(numbers(n))) << chunk;
  for (int count = 0; count < 130; ++count)
    ASSERT_EQ(executor->map(add_one, numbers(count)).get(), plus_one(numbers(count))) << count;
}

TEST_P(MapTest, B4_automatic_chunks_once_the_time_is_known) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(executor->map(add_one, numbers(20'000)).get(), plus_one(numbers(20'000)));
}

TEST_P(MapTest, B4_a_chunk_of_nothing_is_refused) {
  EXPECT_THROW(executor->map({.chunksize = 0}, add_one, numbers(3)), std::invalid_argument);
}

TEST_P(MapTest, B5_an_input_that_throws) {
  const auto fails_at_five = [](int i) {
    if (i == 5) throw std::runtime_error("input");
    return i;
  };
  const auto error = thrown_by<std::runtime_error>(
      [&] { executor->map({.chunksize = 2}, add_one, Generated(fails_at_five, 10)).get(); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "input");
  EXPECT_EQ(soon(executor->submit(add_one, 1)).get(), 2);
}

/// Of all items that can be had, whatever ++ throws meanwhile; how often it threw.
std::pair<std::vector<std::string>, int> read_on(auto& results) {
  std::vector<std::string> all;
  int errors = 0;
  for (auto it = results.begin(); it != results.end();) {
    all.push_back(*it);
    try {
      ++it;
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "input");
      ++errors;
    }
    if (errors > 100) break;  // it never ends
  }
  return {all, errors};
}
TEST_P(MapTest, B5_a_range_that_throws_while_results_are_taken_loses_no_item) {
  constexpr int n = 12;
  for (const bool once : {true, false})
    for (const bool ordered : {true, false})
      for (const std::size_t chunk : {1U, 2U, 3U, 5U})
        for (const std::size_t buffer : {1U, 2U, 3U, 5U}) {
          SCOPED_TRACE((once ? "once" : "for ever") +
                       std::string(ordered ? ", chunks of " : ", unordered, chunks of ") + std::to_string(chunk) +
                       ", ahead " + std::to_string(buffer));
          bool thrown = false;
          const auto fails_at_five = [&](int i) {
            if (i == 5 && !(once && thrown)) {
              thrown = true;
              throw std::runtime_error("input");
            }
            return i;
          };
          const Generated range(fails_at_five, n);
          auto results = executor->map({.chunksize = chunk, .buffersize = buffer, .ordered = ordered}, join,
                                       std::vector<std::string>(n, "x"), range);
          auto [values, errors] = read_on(results);
          std::vector<std::string> expected;
          for (int i = 0; i < (once ? n : 5); ++i) expected.push_back("x" + std::to_string(i));
          if (!ordered) {
            std::sort(values.begin(), values.end());
            std::sort(expected.begin(), expected.end());
          }
          EXPECT_EQ(values, expected);
          EXPECT_GE(errors, 1);
          EXPECT_TRUE(errors == 1 || !once) << errors;
        }
}

TEST_P(MapTest, B6_endless_unordered_input_keeps_nothing_of_what_was_taken) {
  if (sanitized) GTEST_SKIP() << "its allocator does not count";
  constexpr int items = 100'000;
  const auto in_use = [] {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  auto results = executor->map({.buffersize = 64, .ordered = false}, add_one, Generated(same));
  int taken = 0;
  std::size_t before = 0;
  for (auto it = results.begin(); taken < items; ++it) {
    if (++taken == 1000) before = in_use();
  }
  EXPECT_LT(in_use(), before + 1'000'000) << "after " << items << " items";
}

TEST_P(MapTest, B1_results_can_be_kept_anywhere) {
  auto results = executor->map({.chunksize = 3}, join, std::vector<std::string>(10, "x"), numbers(10));
  auto it = results.begin();
  EXPECT_EQ(*it, "x0");
  std::vector<decltype(results)> many;
  many.push_back(std::move(results));
  ++it;
  EXPECT_EQ(*it, "x1") << "iterators stay valid";
  EXPECT_EQ(*many[0].begin(), "x1");
  EXPECT_THROW(results.begin(), std::future_error);
  std::optional<decltype(results)> maybe;
  maybe = std::move(many[0]);
  many.clear();
  int count = 1;
  for (; it != maybe->end(); ++it, ++count) EXPECT_EQ(*it, "x" + std::to_string(count));
  EXPECT_EQ(count, 10);
}

TEST_P(MapTest, B3_time_limits_of_any_length) {
  using std::chrono::milliseconds;
  EXPECT_EQ(executor->map({.timeout = milliseconds::max()}, add_one, numbers(3)).get(), (std::vector<int>{1, 2, 3}));
  auto results = executor->map({.timeout = milliseconds::min()}, pass_gate, std::vector<Board>{board},
                               std::vector<unsigned>{entered}, std::vector<unsigned>{gate});
  EXPECT_THROW(results.get(), yoke::TimeoutError);
  open_gate();
}

TEST_P(MapTest, B6_endless_input) {
  auto results = executor->map({.chunksize = 1, .buffersize = 7}, add_one, Generated(same));
  int expected = 0;
  for (const int value : results) {
    ASSERT_EQ(value, ++expected);
    if (expected == 100) break;
  }
}

TEST_P(MapTest, B6_exactly_that_many_are_fetched_ahead) {
  int fetched = 0;
  const Generated input([&](int i) {
    ++fetched;
    return i;
  });
  for (const std::size_t chunk : {1UL, 2UL, 3UL, 20UL}) {
    fetched = 0;
    auto results = executor->map({.chunksize = chunk, .buffersize = 6}, add_one, input);
    EXPECT_EQ(fetched, 6);
    int taken = 0;
    for (auto it = results.begin(); taken < 60; ++it, ++taken) {
      EXPECT_EQ(*it, taken + 1);
      EXPECT_LE(fetched, taken + 6);
    }
  }
}

TEST_P(MapTest, B6_a_buffer_of_nothing_is_refused) {
  EXPECT_THROW(executor->map({.buffersize = 0}, add_one, numbers(3)), std::invalid_argument);
}

TEST_P(MapTest, B7_destroying_the_results_cancels_the_rest) {
  const auto first = all_busy(entered, gate);
  {
    auto results = executor->map({.chunksize = 1}, yoke::bind(counted, board), numbers(100));
  }
  open_gate();
  soon(executor->submit(add_one, 1)).get();
  EXPECT_EQ(board.get(ran), 0U);
}

TEST_P(MapTest, B7_unordered_too) {
  const auto first = all_busy(entered, gate);
  {
    auto results = executor->map({.chunksize = 1, .ordered = false}, yoke::bind(counted, board), numbers(100));
  }
  open_gate();
  soon(executor->submit(add_one, 1)).get();
  EXPECT_EQ(board.get(ran), 0U);
}

TEST_P(MapTest, B8_empty_input) {
  EXPECT_TRUE(executor->map(add_one, std::vector<int>()).get().empty());
  auto results = executor->map({.chunksize = 5, .buffersize = 2, .ordered = false}, add_one, std::vector<int>());
  EXPECT_EQ(results.begin(), results.end());
}

/// A value whose copies in this process are counted.
struct Tracked {
  static inline std::atomic<int> alive{0};
  Tracked() { ++alive; }
  Tracked(const Tracked&) { ++alive; }
  ~Tracked() { --alive; }
  Tracked& operator=(const Tracked&) = default;
  MSGPACK_DEFINE()
};
Tracked make_tracked(int) { return {}; }
TEST_P(MapTest, B11_a_value_handed_out_is_not_kept) {
  auto results = executor->map({.chunksize = 2}, make_tracked, numbers(6));
  for (auto it = results.begin(); it != results.end(); ++it) {
    {
      const Tracked value = *it;
    }
    wait_until([] { return Tracked::alive == 0; }, "the only copy to go");
  }
}

TEST_P(MapTest, D4_after_shutdown_it_throws) {
  executor->shutdown();
  EXPECT_THROW(executor->map(add_one, numbers(3)), yoke::ShutdownExecutorError);
}

TEST_P(MapTest, B1_two_at_once) {
  auto one = executor->map({.chunksize = 1}, add_one, numbers(300));
  auto two = executor->map({.chunksize = 2}, join, std::vector<std::string>(300, "x"), numbers(300));
  auto a = one.begin();
  auto b = two.begin();
  for (int i = 0; i < 300; ++i, ++a, ++b) {
    ASSERT_EQ(*a, i + 1);
    ASSERT_EQ(*b, "x" + std::to_string(i));
  }
}

/// What becomes of the items of a map whose workers die.
class MapCrashTest : public AnyPoolTest {
 protected:
  static constexpr unsigned runs = 100;  // the words that count the runs of each item
  /// Asserts that `lost` items ended with their worker, `tries` of them each, and that all others ran once and gave
  /// `value`.
  template <class Results, class Value>
  void expect_lost(Results&& results, const std::set<int>& lost, unsigned tries, Value value) {
    int i = 0;
    for (auto it = results.begin(); it != results.end(); ++it, ++i) {
      if (lost.contains(i)) {
        const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { *it; });
        ASSERT_TRUE(error) << i;
        EXPECT_EQ(error->death().item, static_cast<std::uint64_t>(i));
        EXPECT_NE(std::string(error->what()).find("item " + std::to_string(i) + " of the map"), std::string::npos)
            << error->what();
      } else {
        ASSERT_EQ(*it, value(i)) << i;
      }
    }
    for (int item = 0; item < i; ++item)
      ASSERT_EQ(board.get(runs + static_cast<unsigned>(item)), lost.contains(item) ? tries : 1U) << item;
  }
  template <class F>
  auto with_board(F f) {
    return yoke::bind(f, board);
  }
};
INSTANTIATE_TEST_SUITE_P(Pools, MapCrashTest, testing::Values(local_pool, agent_pool),
                         [](const testing::TestParamInfo<PoolKind>& kind) { return std::string(kind.param.name); });

int die_at_every_fortieth(const Board& board, int i) {
  board.add(100 + static_cast<unsigned>(i));
  if (i % 40 == 39) kill_self(i % 80 == 39 ? SIGSEGV : SIGKILL);
  return -i;
}
const std::set<int> every_fortieth{39, 79, 119, 159, 199};

TEST_P(MapCrashTest, B12_a_crash_costs_the_item_that_ran) {
  may_write_stderr();  // a sanitizer reports the crashes
  for (const std::optional<std::size_t> chunk :
       {std::optional<std::size_t>(), std::optional<std::size_t>(40), std::optional<std::size_t>(200)}) {
    expect_lost(executor->map({.chunksize = chunk}, with_board(die_at_every_fortieth), numbers(200)), every_fortieth, 1,
                [](int i) { return -i; });
    take_down(board);
    board = put_up_board();
  }
}

TEST_P(MapCrashTest, B12_retries_count_for_items) {
  may_write_stderr();  // as above
  expect_lost(executor->map({.chunksize = 50, .task = {.retries = 1}}, with_board(die_at_every_fortieth), numbers(200)),
              every_fortieth, 2, [](int i) { return -i; });
}

int die_at_first_of_seven(const Board& board, int i) {
  if (board.add(100 + static_cast<unsigned>(i)) == 1 && i % 7 == 0) kill_self(SIGKILL);
  return i;
}
TEST_P(MapCrashTest, B12_an_item_that_is_tried_again_may_do_well) {
  EXPECT_EQ(
      executor->map({.chunksize = 20, .task = {.retries = 1}}, with_board(die_at_first_of_seven), numbers(40)).get(),
      numbers(40));
}

/// Texts of all lengths, errors and deaths, in one chunk.
std::string long_or_lost(const Board& board, int i) {
  board.add(100 + static_cast<unsigned>(i));
  if (i % 10 == 9) kill_self(SIGKILL);
  if (i % 10 == 3) throw std::domain_error("three: " + std::to_string(i));
  return std::string(static_cast<std::size_t>(i % 5 == 0 ? 150'000 : i), 'x');
}
TEST_P(MapCrashTest, B12_whatever_the_others_gave_is_kept) {
  for (const bool ordered : {true, false}) {
    take_down(board);
    board = put_up_board();
    auto results = executor->map({.chunksize = 30, .ordered = ordered}, with_board(long_or_lost), numbers(60));
    std::multiset<std::size_t> lengths, expected;
    int threw = 0, lost = 0;
    for (auto it = results.begin(); it != results.end(); ++it) try {
        lengths.insert((*it).size());
      } catch (const std::domain_error&) {
        ++threw;
      } catch (const yoke::TerminatedWorkerError&) {
        ++lost;
      }
    for (int i = 0; i < 60; ++i) {
      EXPECT_EQ(board.get(runs + static_cast<unsigned>(i)), 1U) << i;
      if (i % 10 != 9 && i % 10 != 3) expected.insert(static_cast<std::size_t>(i % 5 == 0 ? 150'000 : i));
    }
    EXPECT_EQ(lengths, expected);
    EXPECT_EQ(threw, 6);
    EXPECT_EQ(lost, 6);
  }
}

void nothing_or_lost(const Board& board, int i) { die_at_every_fortieth(board, i); }
TEST_P(MapCrashTest, B12_of_tasks_without_results_too_read_lazily) {
  may_write_stderr();  // as above
  auto results = executor->map({.chunksize = 30, .buffersize = 45}, with_board(nothing_or_lost), numbers(200));
  std::set<int> lost;
  int i = 0;
  for (auto it = results.begin(); it != results.end(); ++it, ++i) try {
      *it;
    } catch (const yoke::TerminatedWorkerError&) {
      lost.insert(i);
    }
  EXPECT_EQ(lost, every_fortieth);
}

/// The argument of an item that ends its worker where it is unpacked.
struct Fatal {
  int value = 0;
};
}  // namespace
template <>
struct yoke::Codec<Fatal> {
  static void pack(Packer& packer, const Fatal& fatal) { packer.pack(fatal.value); }
  static Fatal unpack(const Object& object) {
    const int value = unpack_value<int>(object);
    if (value % 3 == 0) kill_self(SIGKILL);
    return {value};
  }
};
namespace {
int value_of(const Fatal& fatal) { return fatal.value; }
TEST_P(MapCrashTest, B12_also_before_the_item_runs) {
  std::vector<Fatal> input(9);
  for (int i = 0; i < 9; ++i) input[static_cast<std::size_t>(i)].value = i;
  auto results = executor->map({.chunksize = 9}, value_of, input);
  int i = 0;
  for (auto it = results.begin(); it != results.end(); ++it, ++i) {
    if (i % 3 == 0)
      EXPECT_THROW(*it, yoke::TerminatedWorkerError) << i;
    else
      EXPECT_EQ(*it, i);
  }
  EXPECT_EQ(i, 9);
}

TEST_P(MapTest, I19_so_many_errors_in_one_chunk) {
  constexpr int many = 60'000;
  auto results = executor->map({.chunksize = many}, odd_fails, std::vector<int>(many, 1));
  int threw = 0;
  for (auto it = results.begin(); it != results.end(); ++it) try {
      *it;
    } catch (const std::domain_error&) {
      ++threw;
    }
  EXPECT_EQ(threw, many);
}

}  // namespace
