// G5: arrays that the program and its workers share: written by one, read by the others, outliving any of them, and
// gone with the last handle.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <new>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;
using yoke::SharedArray;
using yoke::SharedView;

struct Pixel {
  float red, green, blue;
};

void write_squares(const SharedArray<int>& array, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i) array[i] = static_cast<int>(i * i);
}
long sum_of(const SharedArray<int>& array) { return std::accumulate(array.begin(), array.end(), 0L); }
long sum_of_span(SharedArray<int> array) {
  const std::span<int> all = array;
  return std::accumulate(all.begin(), all.end(), 0L);
}
SharedArray<int> make_counting(std::size_t size) {
  SharedArray<int> array(size);
  std::iota(array.begin(), array.end(), 1);
  return array;
}
SharedArray<int> pass_on(SharedArray<int> array) { return array; }
void write_and_die(const SharedArray<int>& array) {
  array[0] = 7;
  kill_self(SIGKILL);
}
std::vector<SharedArray<int>> make_many(std::size_t count) {
  std::vector<SharedArray<int>> all;
  for (std::size_t i = 0; i < count; ++i) all.push_back(make_counting(i + 1));
  return all;
}
std::pair<std::string, SharedArray<int>> make_with_text(std::size_t length) {
  return {std::string(length, 'x'), make_counting(3)};
}
int keep_for_ever(const SharedArray<int>& array) {
  static SharedArray<int>& kept = *new SharedArray<int>;
  kept = array;
  return own_pid();
}
int first_of(const SharedView<int>& view) { return view[0]; }
std::optional<SharedArray<int>> make_if_odd(std::size_t size) {
  return size % 2 == 0 ? std::nullopt : std::optional(make_counting(size));
}
/// An array, and behind it what cannot be packed if it is negative.
struct Positive {
  int number;
};
struct ArrayAndNumber {
  SharedArray<int> array;
  Positive number{};
};
ArrayAndNumber make_with_number(int number) { return {make_counting(3), {number}}; }

/// Mapped pieces of shared arrays in a process.
std::size_t mapped_in(int pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("yoke-shared") != std::string::npos ? 1U : 0U;
  return count;
}

using SharedArrays = PoolTest;

}  // namespace

template <>
struct yoke::Codec<Positive> {
  static void pack(Packer& packer, const Positive& value) {
    if (value.number < 0) throw std::range_error("negative");
    pack_value(packer, value.number);
  }
  static Positive unpack(const Object& object) { return {unpack_value<int>(object)}; }
};

namespace {

TEST_F(SharedArrays, G5_a_new_one_is_zero_and_handles_share_it) {
  const SharedArray<int> array(1000);
  EXPECT_EQ(array.size(), 1000U);
  EXPECT_EQ(std::ranges::count(array, 0), 1000);
  const SharedArray<int> other = array;
  other[3] = 5;
  EXPECT_EQ(array[3], 5);
  EXPECT_TRUE(array == other);
  EXPECT_FALSE(array == SharedArray<int>(1000));
  const std::vector<int> values{3, 1, 4};
  EXPECT_EQ(SharedArray<int>(std::span(values))[2], 4);
}

TEST_F(SharedArrays, G5_workers_write_and_the_program_reads) {
  const SharedArray<int> array(10'000);
  std::vector<yoke::Future<void>> futures;
  for (std::size_t i = 0; i < 10; ++i) futures.push_back(pool->submit(write_squares, array, i * 1000, (i + 1) * 1000));
  for (auto& future : futures) soon(future).get();
  for (std::size_t i = 0; i < array.size(); ++i) ASSERT_EQ(array[i], static_cast<int>(i * i));
  EXPECT_EQ(soon(pool->submit(sum_of, array)).get(), sum_of(array));
  EXPECT_EQ(soon(pool->submit(sum_of_span, array)).get(), sum_of(array));
}

TEST_F(SharedArrays, G5_elements_of_any_trivially_copyable_type) {
  const SharedArray<Pixel> image(64);
  soon(pool->submit(yoke::by_value([view = image.view()] { view[63].green = 0.5F; }))).get();
  EXPECT_EQ(image[63].green, 0.5F);
}

TEST_F(SharedArrays, G5_views_are_bytes_for_captures_and_arguments) {
  static_assert(std::is_trivially_copyable_v<SharedView<int>>);
  const SharedArray<int> array(100);
  const auto fill = yoke::by_value([view = array.view()](int from) {
    const auto all = view.span();
    for (std::size_t i = 0; i < 50; ++i) all[static_cast<std::size_t>(from) + i] = from;
  });
  auto low = pool->submit(fill, 0);
  auto high = pool->submit(fill, 50);
  soon(low).get();
  soon(high).get();
  EXPECT_EQ(sum_of(array), 2500);
  EXPECT_EQ(array.view().span().data(), array.data());
  array[0] = 17;
  EXPECT_EQ(soon(pool->submit(first_of, array.view())).get(), 17);
}

TEST_F(SharedArrays, G5_a_task_that_waits_keeps_its_array) {
  restart({.max_workers = 1});
  auto busy = pool->submit(pass_gate, board, 0, 1);
  auto sum = [&] {
    const SharedArray<int> array(1000);
    std::ranges::fill(array, 2);
    return pool->submit(sum_of, array);
  }();
  board.add(1);
  soon(busy).get();
  EXPECT_EQ(soon(sum).get(), 2000);
}

TEST_F(SharedArrays, G5_one_made_by_a_worker_outlives_it) {
  auto future = pool->submit(make_counting, 1'000);
  soon(future).wait();
  ::kill(future.worker_pid(), SIGKILL);
  wait_until([&] { return pool->stats().deaths == 1; }, "the death");
  const SharedArray<int> array = future.get();
  EXPECT_EQ(array.size(), 1000U);
  EXPECT_EQ(sum_of(array), 500'500);
  EXPECT_EQ(soon(pool->submit(sum_of, array)).get(), 500'500);  // and goes out again
}

TEST_F(SharedArrays, G5_the_same_comes_back_as_itself) {
  const SharedArray<int> array(10);
  EXPECT_TRUE(soon(pool->submit(pass_on, array)).get() == array);
  EXPECT_TRUE(soon(pool->submit(pass_on, SharedArray<int>())).get().empty());
  auto lone = soon(pool->submit(pass_on, make_counting(4)));  // held by the result alone
  EXPECT_EQ(sum_of(lone.get()), 10);
}

TEST_F(SharedArrays, G5_a_death_leaves_what_was_written) {
  const SharedArray<int> array(10);
  auto future = pool->submit(write_and_die, array);
  EXPECT_EQ(death_of(future).signal, SIGKILL);
  EXPECT_EQ(array[0], 7);
  EXPECT_EQ(soon(pool->submit(sum_of, array)).get(), 7);
}

TEST_F(SharedArrays, G5_many_in_one_message) {
  const auto all = make_many(100);
  const auto total = [](const std::vector<SharedArray<int>>& arrays) {
    return std::accumulate(arrays.begin(), arrays.end(), 0L,
                           [](long sum, const auto& array) { return sum + sum_of(array); });
  };
  EXPECT_EQ(soon(pool->submit(total, all)).get(), 171'700);
  const auto few = soon(pool->submit(make_many, 31)).get();
  ASSERT_EQ(few.size(), 31U);
  for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i].size(), i + 1);
  const auto error = thrown_by<yoke::SerializationError>([&] { soon(pool->submit(make_many, 32)).get(); });
  EXPECT_NE(std::string(error->what()).find("31"), std::string::npos) << error->what();
}

TEST_F(SharedArrays, G5_beside_a_result_of_any_size) {
  for (const std::size_t length : {0U, 500U, 20'000U, 200'000U}) {
    const auto [text, array] = soon(pool->submit(make_with_text, length)).get();
    EXPECT_EQ(text.size(), length);
    EXPECT_EQ(sum_of(array), 6);
  }
}

TEST_F(SharedArrays, G5_results_that_nobody_asks_for_leave_nothing) {
  std::vector<yoke::Future<SharedArray<int>>> futures;
  for (int i = 0; i < 500; ++i) futures.push_back(pool->submit(make_counting, 100));
  yoke::wait(futures, 60s);
  EXPECT_EQ(sum_of(futures.back().get()), 5050);
}

TEST_F(SharedArrays, G5_through_map_and_an_initializer) {
  const SharedArray<int> array(100);
  std::vector<std::size_t> firsts{0, 10, 20, 30};
  std::vector<SharedArray<int>> same(4, array);
  std::vector<std::size_t> lasts{10, 20, 30, 40};
  pool->map(write_squares, same, firsts, lasts).get();
  EXPECT_EQ(array[39], 39 * 39);
  EXPECT_EQ(array[40], 0);
  auto made = pool->map(make_counting, std::vector<std::size_t>{1, 2, 3, 4, 5}).get();
  EXPECT_EQ(sum_of(made[4]), 15);
  {
    const SharedArray<int> table = make_counting(10);
    restart({.max_workers = 2, .initializer = yoke::initializer(keep_for_ever, table)});
  }
  EXPECT_EQ(soon(pool->submit(add_one, 1)).get(), 2);  // the options hold the table
}

TEST_F(SharedArrays, G5_results_of_a_map_in_chunks_of_any_size) {
  std::vector<std::size_t> sizes(10);
  std::iota(sizes.begin(), sizes.end(), 1U);
  std::vector<SharedArray<int>> given;
  for (const std::size_t n : sizes) given.push_back(make_counting(n));
  for (const std::size_t chunk : {1U, 2U, 3U, 10U}) {
    const yoke::MapOptions options{.chunksize = chunk};
    const auto made = pool->map(options, make_counting, sizes).get();
    const auto passed = pool->map(options, pass_on, given).get();
    const auto many = pool->map(options, make_many, sizes).get();
    const auto some = pool->map(options, make_if_odd, sizes).get();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto n = static_cast<long>(sizes[i]);
      ASSERT_EQ(sum_of(made[i]), n * (n + 1) / 2) << chunk;
      ASSERT_EQ(passed[i].data(), given[i].data()) << chunk;
      ASSERT_EQ(many[i].size(), sizes[i]) << chunk;
      ASSERT_EQ(sum_of(many[i].back()), n * (n + 1) / 2) << chunk;
      ASSERT_EQ(some[i].has_value(), n % 2 != 0) << chunk;
      ASSERT_EQ(some[i] ? sum_of(*some[i]) : 0, n % 2 == 0 ? 0 : n * (n + 1) / 2) << chunk;
    }
  }
}

TEST_F(SharedArrays, G5_an_array_beside_what_cannot_be_packed_costs_its_item_alone) {
  auto results = pool->map({.chunksize = 4}, make_with_number, std::vector<int>{0, -1, 2, -3});
  int i = 0;
  for (auto it = results.begin(); it != results.end(); ++it, ++i) {
    if (i % 2 != 0)
      EXPECT_THROW(*it, yoke::SerializationError);
    else
      EXPECT_EQ(sum_of((*it).array), 6);
  }
  EXPECT_EQ(pool->stats().deaths, 0U) << "an honest worker is not to blame";
}

TEST_F(SharedArrays, G5_the_memory_goes_with_the_last_handle) {
  restart({.max_workers = 1});
  int pid = 0;
  {
    const SharedArray<int> array(1000);
    soon(pool->submit(sum_of, array)).get();
    pid = soon(pool->submit(own_pid)).get();
    EXPECT_EQ(mapped_in(::getpid()), 1U);
    EXPECT_EQ(mapped_in(pid), 1U);
    soon(pool->submit(sum_of, array)).get();
    EXPECT_EQ(mapped_in(pid), 1U);
  }
  EXPECT_EQ(mapped_in(::getpid()), 0U);
  wait_until([&] { return mapped_in(pid) == 0; }, "an idle worker to give back an array");
  soon(pool->submit(sum_of, SharedArray<int>(1000))).get();
  wait_until([&] { return soon(pool->submit(mapped_in, pid)).get() == 0; }, "a busy worker to give back an array");
  soon(pool->submit(keep_for_ever, make_counting(10))).get();
  for (int i = 0; i < 20; ++i) soon(pool->submit(sum_of, make_counting(10))).get();
  wait_until([&] { return mapped_in(pid) == 1; }, "all but the one that is held");
}

TEST_F(SharedArrays, G5_a_view_of_an_array_that_is_gone_says_so) {
  const auto view = SharedArray<int>(10).view();
  const auto here = thrown_by<yoke::Error>([&] { view.span(); });
  EXPECT_NE(std::string(here->what()).find("Keep a SharedArray"), std::string::npos) << here->what();
  const auto there = thrown_by<yoke::Error>([&] { soon(pool->submit(first_of, view)).get(); });
  EXPECT_NE(std::string(there->what()).find("Keep a SharedArray"), std::string::npos) << there->what();
  const SharedArray<int> next(10);  // likely with the descriptor of the one that is gone
  const auto other = thrown_by<yoke::Error>([&] { soon(pool->submit(first_of, view)).get(); });
  EXPECT_NE(std::string(other->what()).find("Keep a SharedArray"), std::string::npos) << other->what();
  const auto foreign = soon(pool->submit([] {
                         static const SharedArray<int>& kept = *new SharedArray<int>(5);
                         return kept.view();
                       })).get();
  const auto refused = thrown_by<yoke::Error>([&] { foreign.span(); });
  EXPECT_NE(std::string(refused->what()).find("return the SharedArray"), std::string::npos) << refused->what();
}

TEST_F(SharedArrays, G5_nested_pools_share_it_too) {
  const SharedArray<int> array(100);
  soon(pool->submit(
           [](const SharedArray<int>& all) {
             yoke::ProcessPoolExecutor inner(1);
             inner.submit(write_squares, all, 0, 100).get();
           },
           array))
      .get();
  EXPECT_EQ(array[99], 99 * 99);
}

TEST_F(SharedArrays, G5_atomic_counting_by_all_workers) {
  const SharedArray<long> counter(1);
  std::vector<yoke::Future<void>> futures;
  for (int i = 0; i < 8; ++i)
    futures.push_back(pool->submit(yoke::by_value([view = counter.view()] {
      for (int n = 0; n < 10'000; ++n) std::atomic_ref(view[0]).fetch_add(1);
    })));
  for (auto& future : futures) soon(future).get();
  EXPECT_EQ(counter[0], 80'000);
}

TEST_F(SharedArrays, G5_in_process) {
  yoke::Executor here(yoke::make_in_process_pool());
  const SharedArray<int> array(100);
  here.submit(write_squares, array, 0, 100).get();
  EXPECT_EQ(array[99], 99 * 99);
  EXPECT_EQ(sum_of(here.submit(make_counting, 4).get()), 10);
  here.shutdown();
}

TEST_F(SharedArrays, G5_more_than_there_is) {
  EXPECT_THROW(SharedArray<double>(std::size_t{1} << 50), std::system_error);
  EXPECT_THROW(SharedArray<double>(SIZE_MAX), std::bad_array_new_length);
}

TEST_F(SharedArrays, G5_elements_of_many_views_and_of_one_that_is_gone) {
  std::vector<yoke::SharedArray<int>> arrays;
  for (int i = 0; i < 20; ++i) arrays.emplace_back(std::size_t{4});
  std::vector<yoke::SharedView<int>> views;
  for (const auto& array : arrays) views.push_back(array.view());
  for (int round = 0; round < 3; ++round)
    for (std::size_t i = 0; i < views.size(); ++i) views[i][1] += static_cast<int>(i);
  for (std::size_t i = 0; i < arrays.size(); ++i) EXPECT_EQ(arrays[i][1], static_cast<int>(3 * i));
  arrays.erase(arrays.begin());
  EXPECT_THROW(views[0][1], yoke::Error);
  EXPECT_EQ(views[1][1], 3);
}

}  // namespace
