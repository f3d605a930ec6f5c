// set_serializer: which form tasks are packed in, told by what crosses.
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/any_pool.hpp"

namespace {

using namespace yoke_test;
using yoke::Serializer;

struct Point {
  int x = 0, y = 0;
  bool operator==(const Point&) const = default;
};

/// Tells whether it was packed for the one form or the other.
struct Probe {
  bool elements = false;
};

}  // namespace
template <>
struct yoke::Codec<Probe> {
  static void pack(Packer& packer, const Probe&) { packer.pack(packer.arrays() == Packer::Arrays::elements); }
  static Probe unpack(const Object& object) { return {object.as<bool>()}; }
};
namespace {

bool is_elements(Probe probe) { return probe.elements; }
Probe same_probe(Probe) { return {}; }
Point swap(Point p) { return {p.y, p.x}; }
int add(int a, int b) { return a + b; }
double sum(const std::vector<double>& values) {
  double all = 0;
  for (const double v : values) all += v;
  return all;
}

/// Restores the default however the test ends.
class Chosen {
 public:
  explicit Chosen(Serializer serializer) { yoke::set_serializer(serializer); }
  ~Chosen() { yoke::set_serializer(Serializer::raw); }
  Chosen(const Chosen&) = delete;
  Chosen& operator=(const Chosen&) = delete;
};

class SerializerTest : public AnyPoolTest {};

TEST_P(SerializerTest, G1_both_forms_carry_the_same_values) {
  const std::vector<Point> points{{1, 2}, {3, 4}};
  const std::map<std::string, std::vector<double>> nested{{"a", {1, 2.5}}, {"", {}}};
  for (const Serializer serializer : {Serializer::raw, Serializer::msgpack}) {
    const Chosen chosen(serializer);
    EXPECT_EQ(yoke::serializer(), serializer);
    EXPECT_EQ(executor->submit(swap, Point{1, 2}).get(), (Point{2, 1}));
    EXPECT_EQ(executor->submit(add, 1, 2).get(), 3);
    EXPECT_EQ(executor->submit(sum, std::vector<double>{1, 2.5}).get(), 3.5);
    EXPECT_EQ(executor->submit([](std::map<std::string, std::vector<double>> m) { return m; }, nested).get(), nested);
    EXPECT_EQ(executor->submit([](std::span<const double> v) { return v.size(); }, std::vector<double>(3)).get(), 3U);
    EXPECT_EQ(executor->map(swap, points).get(), (std::vector<Point>{{2, 1}, {4, 3}}));
    EXPECT_EQ(executor->submit(&std::vector<double>::size, std::vector<double>(4)).get(), 4U);
    int offset = 5;
    EXPECT_EQ(executor->submit(yoke::by_value([offset](Point p) { return p.x + offset; }), Point{1, 2}).get(), 6);
    EXPECT_NO_THROW(executor->submit([](const std::string&) {}, "nothing comes back").get());
  }
}

TEST_P(SerializerTest, G1_results_come_back_in_the_form_of_the_task) {
  EXPECT_EQ(yoke::serializer(), Serializer::raw);
  EXPECT_FALSE(executor->submit(is_elements, Probe()).get());
  EXPECT_FALSE(executor->submit(same_probe, Probe()).get().elements);
  const Chosen chosen(Serializer::msgpack);
  EXPECT_TRUE(executor->submit(is_elements, Probe()).get());
  EXPECT_TRUE(executor->submit(same_probe, Probe()).get().elements);
  for (const bool elements : executor->map({.chunksize = 2}, is_elements, std::vector<Probe>(3))) EXPECT_TRUE(elements);
  for (const Probe probe : executor->map({.chunksize = 2}, same_probe, std::vector<Probe>(3)))
    EXPECT_TRUE(probe.elements);
}

YOKE_ANY_POOL(SerializerTest);

/// Keeps the messages that it is given.
class RecordingPool final : public yoke::Pool {
 public:
  void submit(yoke::TaskPtr task) override { messages.push_back(task->arguments()); }
  bool cancel(yoke::Task&, yoke::CancelMode) override { return false; }
  bool running(const yoke::Task&) const override { return false; }
  bool accepting() const override { return true; }
  void shutdown(const yoke::ShutdownOptions&) override {}
  void resize(int) override {}
  int max_workers() const override { return 1; }
  yoke::Stats stats() const override { return {}; }

  std::vector<yoke::Bytes> messages;
};

TEST(Serializer, G1_plain_values_are_their_bytes_or_msgpack) {
  const auto pool = std::make_shared<RecordingPool>();
  yoke::Executor executor(pool);
  executor.submit(swap, Point{1, 2});
  executor.submit(add, 1, 2);
  {
    const Chosen chosen(Serializer::msgpack);
    executor.submit(swap, Point{1, 2});
    executor.submit(add, 1, 2);
    executor.submit(sum, std::vector<double>{1, 2});
  }
  EXPECT_EQ(pool->messages.at(0).size(), sizeof(Point));
  EXPECT_EQ(pool->messages.at(1).size(), 2 * sizeof(int));
  const yoke::Message point(pool->messages.at(2).view());
  const auto items = yoke::detail::unpack_array(point.object(), 2);  // what form it is, and the point
  EXPECT_EQ(yoke::detail::unpack_array(items[1], 2)[1].as<int>(), 2);
  EXPECT_EQ(pool->messages.at(3).size(), 2 * sizeof(int));
  const yoke::Message numbers(pool->messages.at(4).view());
  EXPECT_EQ(yoke::detail::unpack_array(yoke::detail::unpack_array(numbers.object(), 2)[1], 2)[1].as<double>(), 2);
}

}  // namespace
