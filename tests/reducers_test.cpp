// G4: an executor's own ways to send values. G2: types that only they can pack. And wrap_non_serializable,
// set_serializer.
#include <dlfcn.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/children/late_tasks.hpp"
#include "tests/support/any_pool.hpp"

namespace {

using namespace yoke_test;

struct Point {
  int x = 0, y = 0;
  int product() const { return x * y; }
  bool operator==(const Point&) const = default;
};
struct Line {
  Point from, to;
  bool operator==(const Line&) const = default;
};
struct Shape {
  std::string name;
  std::vector<Point> corners;
  std::map<std::string, Point> marks;
  std::optional<Line> axis;
  bool operator==(const Shape&) const = default;
};

/// No codec, no default constructor, not to be copied.
class Sealed {
 public:
  explicit Sealed(std::string text) : text_(std::make_unique<std::string>(std::move(text))) {}
  const std::string& text() const { return *text_; }
  virtual ~Sealed() = default;
  Sealed(Sealed&&) = default;

 private:
  std::unique_ptr<std::string> text_;
};

}  // namespace
template <>
struct yoke::Codec<Sealed> : yoke::ReducedOnly<Sealed> {};
namespace {

class Marked {
 public:
  explicit Marked(int value = 0) : value_(value) {}
  int value() const { return value_; }
  MSGPACK_DEFINE(value_)

 private:
  int value_;
};

constexpr auto to_text = [](const Sealed& sealed) { return sealed.text(); };
constexpr auto from_text = [](const std::string& text) { return Sealed(text); };

// Reducers that leave a trace: what they send is one more.
yoke::Reducers points() {
  return yoke::Reducers().add<Point>([](const Point& p) { return std::pair(p.x + 1, p.y + 1); },
                                     [](std::pair<int, int> p) { return Point{p.first, p.second}; });
}
yoke::Reducers marks() {
  return yoke::Reducers().add<Marked>([](yoke::Packer& packer, const Marked& m) { packer.pack(m.value() + 1000); },
                                      [](const yoke::Object& object) { return Marked(object.as<int>()); });
}

Point point_as_is(Point p) { return p; }
int sum(Point p) { return p.x + p.y; }
int sum_of(const std::vector<Point>& points) {
  int all = 0;
  for (const Point& p : points) all += sum(p);
  return all;
}
Shape shape_as_is(Shape shape) { return shape; }
std::string sealed_text(const Sealed& sealed) { return sealed.text(); }
Sealed make_sealed(const std::string& text) { return Sealed(text); }
int marked_value(const Marked& marked) { return marked.value(); }
int add(int a, int b) { return a + b; }

class ReducersTest : public AnyPoolTest {
 protected:
  /// A second executor of the same kind.
  std::unique_ptr<yoke::Executor> other(yoke::ExecutorOptions options) {
    options.max_workers = 1;
    return std::make_unique<yoke::Executor>(GetParam().make(options));
  }
};

TEST_P(ReducersTest, G4_arguments_are_sent_in_the_executors_own_way_and_in_no_others) {
  const auto own = other({.job_reducers = points()});
  EXPECT_EQ(own->submit(point_as_is, Point{1, 2}).get(), (Point{2, 3}));
  EXPECT_EQ(executor->submit(point_as_is, Point{1, 2}).get(), (Point{1, 2}));
  const auto third = other({.job_reducers = marks()});
  EXPECT_EQ(third->submit(point_as_is, Point{1, 2}).get(), (Point{1, 2}));
  EXPECT_EQ(third->submit(marked_value, Marked(1)).get(), 1001);
  EXPECT_EQ(own->submit(marked_value, Marked(1)).get(), 1);
  shut_down_in_time(*own);
  shut_down_in_time(*third);
}

TEST_P(ReducersTest, G4_results_have_reducers_of_their_own) {
  const auto own = other({.result_reducers = points()});
  EXPECT_EQ(own->submit(point_as_is, Point{1, 2}).get(), (Point{2, 3}));
  EXPECT_EQ(own->submit(sum, Point{1, 2}).get(), 3);
  const auto both = other({.job_reducers = points(), .result_reducers = points()});
  EXPECT_EQ(both->submit(point_as_is, Point{1, 2}).get(), (Point{3, 4}));
  EXPECT_EQ(both->submit(add, 1, 2).get(), 3);
  shut_down_in_time(*own);
  shut_down_in_time(*both);
}

TEST_P(ReducersTest, G4_within_containers_and_classes) {
  const Shape shape{"s", {{1, 1}, {2, 2}}, {{"a", {3, 3}}}, Line{{4, 4}, {5, 5}}};
  const Shape once{"s", {{2, 2}, {3, 3}}, {{"a", {4, 4}}}, Line{{5, 5}, {6, 6}}};
  const auto own = other({.job_reducers = points()});
  EXPECT_EQ(own->submit(shape_as_is, shape).get(), once);
  EXPECT_EQ(own->submit(sum_of, std::vector<Point>{{1, 1}, {2, 2}}).get(), 10);
  EXPECT_EQ(
      own->submit([](const std::vector<Line>& lines) { return lines; }, std::vector<Line>{{{1, 1}, {2, 2}}}).get(),
      (std::vector<Line>{{{2, 2}, {3, 3}}}));
  EXPECT_EQ(own->submit([](std::array<Point, 2> both) { return both[0].x + both[1].y; },
                        std::array<Point, 2>{Point{1, 2}, Point{3, 4}})
                .get(),
            2 + 5);
  EXPECT_EQ(
      own->submit([](const std::tuple<int, Point>& t) { return std::get<1>(t); }, std::tuple(1, Point{1, 2})).get(),
      (Point{2, 3}));
  const auto back = other({.result_reducers = points()});
  EXPECT_EQ(back->submit(shape_as_is, shape).get(), once);
  shut_down_in_time(*own);
  shut_down_in_time(*back);
}

TEST_P(ReducersTest, G4_in_map_and_by_every_kind_of_callable) {
  const auto own = other({.job_reducers = points(), .result_reducers = marks()});
  const std::vector<Point> all{{1, 1}, {2, 2}, {3, 3}};
  EXPECT_EQ(own->map({.chunksize = 2}, sum, all).get(), (std::vector<int>{4, 6, 8}));
  EXPECT_EQ(own->map({.chunksize = 2}, point_as_is, all).get(), (std::vector<Point>{{2, 2}, {3, 3}, {4, 4}}));
  int count = 0;
  for (const Marked& m : own->map([](Point p) { return Marked(p.x); }, all)) EXPECT_EQ(m.value(), 1002 + count++);
  const auto failing = [](Point p) { return p.x == 3 ? throw std::runtime_error("three") : p; };
  auto results = own->map({.chunksize = 3}, failing, all);
  auto item = results.begin();
  EXPECT_EQ(*item, (Point{2, 2}));
  EXPECT_THROW(*++item, std::runtime_error);
  EXPECT_EQ(*++item, (Point{4, 4}));
  int offset = 7;
  EXPECT_EQ(own->submit(yoke::by_value([offset](Point p) { return p.x + offset; }), Point{1, 1}).get(), 9);
  EXPECT_EQ(own->submit(yoke::bind(sum, Point{1, 1})).get(), 4);
  EXPECT_EQ(own->submit(&Point::product, Point{1, 2}).get(), 6);
  shut_down_in_time(*own);
}

TEST_P(ReducersTest, G4_a_type_that_only_reducers_pack) {
  const auto own = other({.job_reducers = yoke::Reducers().add<Sealed>(to_text, from_text),
                          .result_reducers = yoke::Reducers().add<Sealed>(to_text, from_text)});
  EXPECT_EQ(own->submit(sealed_text, Sealed("in")).get(), "in");
  EXPECT_EQ(own->submit(make_sealed, "out").get().text(), "out");
  const auto error = thrown_by<yoke::SerializationError>([&] { executor->submit(sealed_text, Sealed("in")); });
  EXPECT_NE(std::string(error->what()).find("Sealed' are packed by reducers only, and this executor has none for it"),
            std::string::npos)
      << error->what();
  const auto lost = executor->submit(make_sealed, "out");
  EXPECT_NE(std::string(thrown_by<yoke::SerializationError>([&] { lost.result(); })->what()).find(".result_reducers"),
            std::string::npos);
  EXPECT_EQ(executor->submit(add, 1, 2).get(), 3);
  shut_down_in_time(*own);
}

TEST_P(ReducersTest, G4_what_reducers_throw_fails_the_one_task) {
  const auto own = other({.job_reducers = yoke::Reducers().add<Point>(
                              [](const Point& p) { return p.x == 0 ? throw std::runtime_error("not this one") : p.x; },
                              [](int x) { return x == 1 ? throw std::runtime_error("nor that one") : Point{x, x}; })});
  EXPECT_NE(std::string(thrown_by<yoke::SerializationError>([&] { own->submit(sum, Point{0, 0}); })->what())
                .find("not this one"),
            std::string::npos);
  const auto failed = own->submit(sum, Point{1, 0});
  EXPECT_NE(std::string(thrown_by<yoke::SerializationError>([&] { failed.result(); })->what()).find("nor that one"),
            std::string::npos);
  EXPECT_EQ(own->submit(sum, Point{2, 0}).get(), 4);
  shut_down_in_time(*own);
}

TEST_P(ReducersTest, G4_a_span_of_what_is_reduced_is_refused) {
  const auto own = other({.job_reducers = points()});
  const auto count = [](std::span<const Line> lines) { return lines.size(); };
  EXPECT_EQ(executor->submit(count, std::vector<Line>(3)).get(), 3U);
  const auto error = thrown_by<yoke::SerializationError>([&] { own->submit(count, std::vector<Line>(3)); });
  EXPECT_NE(std::string(error->what()).find("take a std::vector instead"), std::string::npos);
  EXPECT_EQ(own->submit([](std::span<const double> v) { return v.size(); }, std::vector<double>(4)).get(), 4U);
  shut_down_in_time(*own);
}

TEST_P(ReducersTest, G4_beside_an_initializer_whose_arguments_they_leave_alone) {
  static std::vector<Point> kept;
  const auto own = other({.initializer = yoke::initializer([](const std::vector<Point>& points) { kept = points; },
                                                           std::vector<Point>{{1, 1}}),
                          .job_reducers = points()});
  EXPECT_EQ(own->submit([](Point p) { return sum_of(kept) + p.x; }, Point{10, 10}).get(), 2 + 11);
  shut_down_in_time(*own);
}

TEST_P(ReducersTest, G4_of_a_library_that_the_workers_open) {
  void* library = ::dlopen(LATE_TASKS, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  const auto add_late_reducer = reinterpret_cast<void (*)(yoke::Reducers&)>(::dlsym(library, "add_late_reducer"));
  yoke::Reducers reducers;
  add_late_reducer(reducers);
  const auto own = other({.job_reducers = reducers, .result_reducers = reducers});
  EXPECT_EQ(own->submit([](LateValue late) { return LateValue{late.value * 10}; }, LateValue{1}).get().value, 21);
  shut_down_in_time(*own);
  // it stays open: the reducer is in it
}

TEST_P(ReducersTest, G4_of_a_nested_executor_are_its_own) {
  const auto own = other({.job_reducers = points(), .result_reducers = points()});
  const auto nested = [](Point p) {
    yoke::ProcessPoolExecutor inner({.max_workers = 1, .job_reducers = marks(), .result_reducers = points()});
    return std::pair(inner.submit(point_as_is, p).get(), inner.submit(marked_value, Marked(1)).get());
  };
  // one more to the worker, one more from the inner worker, one more from the worker
  EXPECT_EQ(soon(own->submit(nested, Point{1, 1})).get(), std::pair(Point{4, 4}, 1001));
  shut_down_in_time(*own);
}

TEST(Reducers, G4_are_equal_if_the_same_functions_were_added) {
  EXPECT_EQ(points(), points());
  EXPECT_NE(points(), marks());
  EXPECT_NE(points(), yoke::Reducers());
  const auto pack = [](const Line& line) { return line.to.x; };
  const auto unpack = [](int x) { return Line{{}, {x, x}}; };
  const auto alone = points();
  auto in_order = alone;
  auto reversed = yoke::Reducers().add<Line>(pack, unpack);
  in_order.add<Line>(pack, unpack);
  EXPECT_NE(in_order, reversed);
  for (const auto& entry : alone.entries()) reversed.add(entry.reducer);
  EXPECT_EQ(in_order, reversed);
  EXPECT_EQ(yoke::Reducers().add<Line>(pack, unpack).add<Line>(pack, unpack), yoke::Reducers().add<Line>(pack, unpack));
  EXPECT_NE(yoke::Reducers().add<Line>(pack, unpack), yoke::Reducers().add<Line>(pack, [](int) { return Line(); }));
}

class ReusableReducersTest : public HouseTest {};

TEST_F(ReusableReducersTest, G4_the_reusable_executor_is_the_same_for_the_same_reducers) {
  auto first = yoke::get_reusable_executor({.max_workers = 1, .job_reducers = points()});
  EXPECT_EQ(first.submit(point_as_is, Point{1, 1}).get(), (Point{2, 2}));
  const auto same = yoke::get_reusable_executor({.max_workers = 1, .job_reducers = points()});
  EXPECT_TRUE(same.reused());
  auto different = yoke::get_reusable_executor({.max_workers = 1, .result_reducers = points()});
  EXPECT_FALSE(different.reused());
  EXPECT_EQ(different.submit(sum, Point{1, 1}).get(), 2);
  different.shutdown();
  first.shutdown();
}

// wrap_non_serializable

TEST_P(ReducersTest, G1_a_wrapped_object_goes_where_its_type_is_taken) {
  const auto wrapped = [](const char* text) { return yoke::wrap_non_serializable(Sealed(text), to_text, from_text); };
  EXPECT_EQ(executor->submit(sealed_text, wrapped("by reference")).get(), "by reference");
  EXPECT_EQ(executor->submit([](Sealed s) { return s.text(); }, wrapped("by value")).get(), "by value");
  EXPECT_EQ(executor->submit([](Sealed&& s) { return s.text(); }, wrapped("to be moved")).get(), "to be moved");
  EXPECT_EQ(executor->submit([](Sealed& s, int n) { return s.text() + std::to_string(n); }, wrapped("and "), 2).get(),
            "and 2");
  EXPECT_EQ(executor->submit([](const auto& w) { return w.get().text(); }, wrapped("as it is")).get(), "as it is");
  EXPECT_EQ(executor->submit([](decltype(wrapped("")) w) { return w; }, wrapped("there and back")).get().get().text(),
            "there and back");
  EXPECT_EQ(executor->submit(&Sealed::text, wrapped("its member")).get(), "its member");
}

TEST_P(ReducersTest, G1_a_wrapped_object_is_copied_or_bound) {
  const auto by_packer = [](yoke::Packer& packer, const Point& p) { packer.pack(p.x); };
  const auto by_object = [](const yoke::Object& object) { return Point{object.as<int>(), -1}; };
  const Point point{5, 6};
  const auto wrapped = yoke::wrap_non_serializable(point, by_packer, by_object);
  EXPECT_EQ(executor->submit(point_as_is, wrapped).get(), (Point{5, -1}));
  EXPECT_EQ(executor->submit(point_as_is, point).get(), (Point{5, 6}));
  EXPECT_EQ(executor->submit(yoke::bind(sum, wrapped)).get(), 4);
  EXPECT_EQ(executor->submit(yoke::bind([](const Point& p, int n) { return p.x + n; }, wrapped), 10).get(), 15);
  EXPECT_EQ(executor->map(sum, std::vector{wrapped, wrapped}).get(), (std::vector<int>{4, 4}));
  EXPECT_EQ(executor
                ->submit([](const std::vector<std::remove_const_t<decltype(wrapped)>>& all) { return sum(all.at(1)); },
                         std::vector{wrapped, wrapped})
                .get(),
            4);
}

YOKE_ANY_POOL(ReducersTest);

}  // namespace
