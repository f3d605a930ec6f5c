// G1, G3, G8, U3: what is packed is unpacked again as it was, and what is damaged is refused. No pool, no process.
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstring>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "yoke/call.hpp"
#include "yoke/codec.hpp"
#include "yoke/task_type.hpp"

namespace {

using namespace std::chrono_literals;

template <class T>
yoke::Bytes packed(const T& value) {
  yoke::PackBuffer buffer;
  yoke::Packer packer(buffer);
  yoke::pack_value<T>(packer, value);
  return buffer.take();
}
template <class T>
T unpacked(const yoke::Bytes& bytes) {
  const yoke::Message message(bytes.view());
  return yoke::unpack_value<T>(message.object());
}
template <class T>
T round_trip(const T& value) {
  return unpacked<T>(packed(value));
}
template <class T>
void expect_same(const T& value) {
  EXPECT_EQ(round_trip(value), value);
}

enum class Colour : std::uint8_t { red, green = 200 };
enum Old { one = 1, minus = -5 };
struct Point {
  double x = 0, y = 0;
  bool operator==(const Point&) const = default;
};
struct Person {
  std::string name;
  int age = 0;
  std::vector<Point> places;
  std::optional<std::string> nick;
  bool operator==(const Person&) const = default;
};
struct Family {
  Person mother, father;
  std::map<std::string, Person> children;
  bool operator==(const Family&) const = default;
};
// Types that hold themselves, each in another way: data decides how deep.
struct Chain {
  int value = 0;
  std::unique_ptr<Chain> next;
};
struct Tree {
  std::vector<Tree> branches;
  std::string leaf;
};
struct List : std::vector<List> {};
struct Named {
  std::map<std::string, Named> members;
};
struct Either {
  std::variant<int, std::shared_ptr<Either>> value;
};
class Defined {
 public:
  int value = 0;
  std::vector<Defined> inner;
  MSGPACK_DEFINE(value, inner)
};
struct Coded {
  std::unique_ptr<Coded> next;
};

class Private {
 public:
  Private() = default;
  explicit Private(int v) : value_(v), text_(std::to_string(v)) {}
  bool operator==(const Private&) const = default;
  MSGPACK_DEFINE(value_, text_)

 private:
  int value_ = 0;
  std::string text_;
};
struct Sixteen {
  int a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, g = 7, h = 8;
  std::string i = "i", j = "j", k = "k", l = "l", m = "m", n = "n", o = "o", p = "p";
  bool operator==(const Sixteen&) const = default;
};
class Money {
 public:
  explicit Money(long cents) : cents_(cents) {}
  long cents() const { return cents_; }
  bool operator==(const Money&) const = default;

 private:
  long cents_;
};
}  // namespace
template <>
struct yoke::Codec<Money> {
  static void pack(Packer& p, const Money& m) { pack_value(p, m.cents()); }
  static Money unpack(const Object& o) { return Money(unpack_value<long>(o)); }
};
namespace {

// Aggregates of other shapes.
struct Nothing {
  bool operator==(const Nothing&) const = default;
};
struct Tagged : Nothing {
  std::string text;
  int number = 0;
  bool operator==(const Tagged&) const = default;
};
struct Record {  // as C programs have them
  char name[40] = {};
  int matrix[2][3] = {};
  std::string words[2];
  Point corners[2][2];
  std::vector<Nothing> marks;
  bool operator==(const Record&) const = default;
};
struct Header {
  char magic[64] = {};
  std::uint32_t lengths[8] = {};
  bool operator==(const Header&) const = default;
};
struct Account {
  Money balance = Money(0);  // which cannot be made from nothing
  std::string owner;
  bool operator==(const Account&) const = default;
};
struct Anything {  // made from whatever there is
  Anything() = default;
  template <class T>
  Anything(T&&) {}  // NOLINT: not explicit
  int number = 0;
  bool operator==(const Anything&) const = default;
};
struct Wrapped {
  Anything anything;
  bool operator==(const Wrapped&) const = default;
};
struct Constant {  // whose bytes can cross, though it cannot be assigned
  const int id;
  double value;
  bool operator==(const Constant&) const = default;
};
template <class T>
struct Pair2 {  // with an adaptor of its own
  T a = T(), b = T();
  bool operator==(const Pair2&) const = default;
};
class Ledger {
 public:
  bool operator==(const Ledger&) const = default;
  Pair2<int> pair;
  std::vector<Person> people;
  std::vector<Account> accounts;
  std::optional<Record> record;
  Header header;
  MSGPACK_DEFINE(people, accounts, record, header, pair)
};

}  // namespace
template <>
struct yoke::Codec<Coded> {
  static void pack(yoke::Packer& packer, const Coded& coded) { yoke::pack_value(packer, coded.next); }
  static Coded unpack(const yoke::Object& object) { return {yoke::unpack_value<std::unique_ptr<Coded>>(object)}; }
};
template <>
struct yoke::Codec<Anything> {
  static void pack(Packer& p, const Anything& a) { pack_value(p, a.number); }
  static Anything unpack(const Object& o) {
    Anything a;
    a.number = unpack_value<int>(o);
    return a;
  }
};
template <class T>
struct msgpack::adaptor::pack<Pair2<T>> {
  template <class Stream>
  msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& packer, const Pair2<T>& pair) const {
    packer.pack_array(2);
    return packer.pack(pair.b).pack(pair.a);
  }
};
template <class T>
struct msgpack::adaptor::convert<Pair2<T>> {
  const msgpack::object& operator()(const msgpack::object& object, Pair2<T>& pair) const {
    object.via.array.ptr[0].convert(pair.b);
    object.via.array.ptr[1].convert(pair.a);
    return object;
  }
};
namespace {

TEST(Codec, G1_numbers) {
  expect_same(0);
  expect_same(std::numeric_limits<std::int64_t>::min());
  expect_same(std::numeric_limits<std::uint64_t>::max());
  expect_same(std::int8_t{-128});
  expect_same('x');
  expect_same(char16_t{0xffff});
  expect_same(char32_t{0x10ffff});
  expect_same(wchar_t{70'000});
  expect_same(true);
  expect_same(1.5F);
  expect_same(-0.1);
  expect_same(1.0L / 3.0L);
  expect_same(std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(round_trip(std::nan(""))));
  EXPECT_TRUE(std::signbit(round_trip(-0.0)));
  expect_same(std::complex<double>(1, -2));
}

TEST(Codec, G1_a_number_that_does_not_fit_is_refused) {
  EXPECT_ANY_THROW(unpacked<std::int8_t>(packed(1000)));
  EXPECT_ANY_THROW(unpacked<unsigned>(packed(-1)));
  EXPECT_ANY_THROW(unpacked<int>(packed(std::string("1"))));
}

TEST(Codec, G1_enums) {
  expect_same(Colour::green);
  expect_same(minus);
  expect_same(std::vector<Colour>{Colour::red, Colour::green});
}

TEST(Codec, G1_texts) {
  expect_same(std::string());
  expect_same(std::string("with\0zero", 9));
  expect_same(std::string(300, 'x'));
  expect_same(std::string(100'000, 'x'));
  expect_same(std::filesystem::path("/tmp/a b"));
  const auto bytes = packed(std::string("view"));
  const yoke::Message message(bytes.view());
  EXPECT_EQ(yoke::unpack_value<std::string_view>(message.object()), "view");
}

TEST(Codec, G1_sequences) {
  expect_same(std::vector<int>{});
  expect_same(std::vector<int>{1, -2, 3});
  expect_same(std::vector<std::string>{"", "a", "bc"});
  expect_same(std::vector<bool>{true, false, true});
  expect_same(std::vector<std::vector<double>>{{}, {1}, {2, 3}});
  expect_same(std::deque<int>{1, 2});
  expect_same(std::list<std::string>{"x", "y"});
  expect_same(std::array<int, 3>{1, 2, 3});
  expect_same(std::array<std::string, 2>{"a", "b"});
  expect_same(std::array<int, 0>{});
  expect_same(std::vector<Point>{{1, 2}, {3, 4}});
}

TEST(Codec, G1_associative_containers) {
  expect_same(std::map<std::string, int>{{"a", 1}, {"b", 2}});
  expect_same(std::multimap<int, int>{{1, 1}, {1, 2}});
  expect_same(std::unordered_map<int, std::string>{{1, "one"}, {2, "two"}});
  expect_same(std::set<std::string>{"a", "b"});
  expect_same(std::multiset<int>{1, 1, 2});
  expect_same(std::unordered_set<int>{1, 2});
  expect_same(std::map<std::pair<int, int>, std::vector<std::string>>{{{1, 2}, {"x"}}, {{3, 4}, {}}});
}

TEST(Codec, G1_sums_and_products) {
  expect_same(std::optional<int>());
  expect_same(std::optional<int>(1));
  expect_same(std::optional<std::optional<int>>(std::optional<int>()));
  expect_same(std::pair<int, std::string>(1, "a"));
  expect_same(std::tuple<int, std::string, double>(1, "a", 0.5));
  expect_same(std::tuple<>());
  using V = std::variant<std::monostate, int, std::string, double>;
  expect_same(V());
  expect_same(V(1));
  expect_same(V("a"));
  expect_same(V(0.5));
  expect_same(std::bitset<70>("1011"));
}

TEST(Codec, G1_time) {
  expect_same(17ms);
  expect_same(-3h);
  expect_same(std::chrono::duration<double>(0.5));
  expect_same(std::chrono::system_clock::now());
}

TEST(Codec, G1_pointers_that_own) {
  EXPECT_EQ(round_trip(std::unique_ptr<int>()), nullptr);
  EXPECT_EQ(*round_trip(std::make_unique<std::string>("a")), "a");
  EXPECT_EQ(*round_trip(std::make_shared<const int>(5)), 5);
}

TEST(Codec, G1_aggregates_and_classes) {
  expect_same(Point{1, 2});
  const Person ann{"Ann", 40, {{1, 2}, {3, 4}}, "A"};
  expect_same(ann);
  expect_same(Family{ann, {"Bob", 41, {}, std::nullopt}, {{"eldest", ann}}});
  expect_same(Private(42));
  expect_same(std::vector<Private>{Private(1), Private(2)});
  Sixteen sixteen;
  sixteen.p = "changed";
  expect_same(sixteen);
  expect_same(Money(1999));
  expect_same(std::map<std::string, Money>{{"a", Money(1)}});
}

TEST(Codec, G1_aggregates_of_any_shape) {
  expect_same(Nothing());
  expect_same(std::vector<Nothing>(3));
  expect_same(std::variant<Nothing, Person>(Nothing()));
  Tagged tagged;
  tagged.text = "text";
  tagged.number = 7;
  expect_same(tagged);
  Record record;
  std::strcpy(record.name, "a name");
  record.matrix[1][2] = 12;
  record.words[1] = "words";
  record.corners[1][0] = {3, 4};
  record.marks.resize(2);
  expect_same(record);
  Header header;
  header.lengths[7] = 8;
  expect_same(header);
  static_assert(yoke::detail::is_plain<Header>() && !yoke::detail::is_plain<Nothing>());
  expect_same(std::vector<Header>{header, Header()});
  expect_same(Account{Money(5), "Ann"});
  Wrapped wrapped;
  wrapped.anything.number = 7;
  expect_same(wrapped);
  const std::vector<Constant> constants{{1, 2.5}, {2, 3.5}};
  EXPECT_EQ(packed(constants).size(), packed(std::vector<double>(4)).size());
  const auto bytes = packed(constants);
  const yoke::Message message(bytes.view());
  EXPECT_EQ(yoke::unpack_value<std::span<const Constant>>(message.object())[1], constants[1]);
}

TEST(Codec, G1_a_class_with_the_macro_holds_all_of_these) {
  Ledger ledger;
  ledger.people = {{"Ann", 40, {{1, 2}}, "A"}, {"Bob", 41, {}, std::nullopt}};
  ledger.accounts = {{Money(5), "Ann"}};
  ledger.record.emplace().words[0] = "word";
  ledger.header.magic[0] = 'x';
  ledger.pair = {1, 2};
  expect_same(ledger);
  expect_same(std::vector<Ledger>{ledger, Ledger()});
  msgpack::sbuffer elsewhere;  // and msgpack-c's own use of its adaptors is as it was
  msgpack::pack(elsewhere, Pair2<int>{1, 2});
  EXPECT_EQ(msgpack::unpack(elsewhere.data(), elsewhere.size()).get().as<Pair2<int>>(), (Pair2<int>{1, 2}));
}

template <class T>
void expect_aligned(std::size_t before, std::size_t size) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i);
  // with something of odd length before it
  const auto bytes = packed(std::pair(std::string(before, 'x'), values));
  const yoke::Message message(bytes.view());
  const auto items = yoke::detail::unpack_array(message.object(), 2);
  const auto view = yoke::unpack_value<std::span<const T>>(items[1]);
  EXPECT_TRUE(std::equal(view.begin(), view.end(), values.begin(), values.end()));
  const auto all = bytes.view();
  const auto* data = reinterpret_cast<const std::byte*>(view.data());
  EXPECT_TRUE(data >= all.data() && data + view.size_bytes() <= all.data() + all.size()) << "no view";
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 16, 0U) << size << " behind " << before;
}
TEST(Codec, G3_spans_are_aligned_views) {
  static_assert(alignof(yoke::Bytes) % 16 == 0, "a short message lies within");
  for (std::size_t before = 0; before < 40; ++before) {
    // one: in the message's own 40 bytes; ten: in memory of its own
    for (const std::size_t size : {1U, 10U}) {
      expect_aligned<double>(before, size);
      expect_aligned<std::uint8_t>(before, size);
      expect_aligned<long double>(before, size);
    }
  }
}

TEST(Codec, G1_callables_and_arguments_pack_by_signature) {
  const auto takes = [](double, const std::string&) {};
  using Type = yoke::detail::TaskType<std::remove_const_t<decltype(takes)>, int, const char*>;
  static_assert(std::is_same_v<Type::All, std::tuple<double, std::string>>);
  yoke::PackBuffer buffer;
  Type::pack_arguments(buffer, nullptr, takes, 3, "abc");
  const auto bytes = buffer.take();
  EXPECT_EQ((unpacked<std::tuple<double, std::string>>(bytes)), (std::tuple<double, std::string>(3, "abc")));
}

// G8: damaged messages.

TEST(Codec, G8_every_prefix_is_refused) {
  const auto bytes = packed(Person{"Ann", 40, {{1, 2}}, "A"});
  const auto all = bytes.view();
  for (std::size_t n = 0; n < all.size(); ++n)
    EXPECT_THROW(unpacked<Person>(yoke::Bytes(all.first(n))), yoke::SerializationError) << n;
}

TEST(Codec, G8_something_behind_the_end_is_refused) {
  const auto bytes = packed(std::string("abc"));
  std::vector<std::byte> longer(bytes.view().begin(), bytes.view().end());
  longer.push_back(std::byte{0});
  EXPECT_THROW(unpacked<std::string>(yoke::Bytes(longer)), yoke::SerializationError);
}

TEST(Codec, G8_a_length_that_lies_allocates_nothing) {
  for (const int head : {0xdd, 0xdf, 0xdb, 0xc6, 0xc9}) {  // array, map, string, bytes, extension of 2^32 - 1
    const std::array<unsigned char, 6> lie{static_cast<unsigned char>(head), 0xff, 0xff, 0xff, 0xff, 0};
    EXPECT_THROW(yoke::Message{std::as_bytes(std::span(lie))}, yoke::SerializationError) << head;
  }
  // A short one is not looked through first: each of its arrays has room for at most as many as it has bytes.
  std::vector<unsigned char> nested;
  for (int i = 0; i < 80; ++i) nested.insert(nested.end(), {0xdc, 0x00, 0xf0});
  EXPECT_THROW(yoke::Message{std::as_bytes(std::span(nested))}, yoke::SerializationError);
  for (std::size_t i = 1; i < nested.size(); i += 3) nested[i] = 0x01;  // more than it has bytes
  EXPECT_THROW(yoke::Message{std::as_bytes(std::span(nested))}, yoke::SerializationError);
}

TEST(Codec, G8_nesting_has_a_limit) {
  const std::vector<unsigned char> deep(100'000, 0x91);
  EXPECT_THROW(yoke::Message{std::as_bytes(std::span(deep))}, yoke::SerializationError);
}

/// A value that holds `depth` others, each within the one before, and its `deepen`, which takes a value and gives one
/// around it.
template <class T, class Deepen>
T nested_value(std::size_t depth, Deepen deepen) {
  T value{};
  for (std::size_t i = 0; i < depth; ++i) value = deepen(std::move(value));
  return value;
}

/// Whatever nests is packed and read to the same depth; more is an error on both sides, of any length.
template <class T, class Deepen>
void expect_a_limit(Deepen deepen, bool same_limit = true) {
  SCOPED_TRACE(typeid(T).name());
  std::size_t fits = 0;
  std::size_t too_deep = 100'000;
  EXPECT_THROW(packed(nested_value<T>(too_deep, deepen)), yoke::SerializationError);
  while (fits + 1 < too_deep) {
    const std::size_t depth = (fits + too_deep) / 2;
    try {
      packed(nested_value<T>(depth, deepen));
      fits = depth;
    } catch (const yoke::SerializationError& error) {
      EXPECT_NE(std::string(error.what()).find("nest deeper than 512"), std::string::npos) << error.what();
      too_deep = depth;
    }
  }
  EXPECT_GE(fits, 100U);
  const auto deepest = packed(nested_value<T>(fits, deepen));
  if (same_limit)
    EXPECT_NO_THROW(unpacked<T>(deepest)) << "what can be packed can be read: " << fits;
  else
    EXPECT_THROW(unpacked<T>(deepest), yoke::SerializationError);
}

/// Where values may be destroyed that nest very deep.
void on_a_large_stack(const std::function<void()>& body) {
  pthread_attr_t attributes;
  ASSERT_EQ(::pthread_attr_init(&attributes), 0);
  ASSERT_EQ(::pthread_attr_setstacksize(&attributes, std::size_t{1} << 30), 0);
  pthread_t thread{};
  const auto run = [](void* what) -> void* {
    (*static_cast<const std::function<void()>*>(what))();
    return nullptr;
  };
  ASSERT_EQ(::pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&body)), 0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
}

TEST(Codec, I17_what_nests_has_the_same_limit_in_both_directions) {
  on_a_large_stack([] {
    const auto point_to = []<class T>(T inner) { return std::make_unique<T>(std::move(inner)); };
    expect_a_limit<Chain>([&](Chain inner) { return Chain{1, point_to(std::move(inner))}; });
    expect_a_limit<Coded>([&](Coded inner) { return Coded{point_to(std::move(inner))}; });
    expect_a_limit<Either>([&](Either inner) { return Either{std::make_shared<Either>(std::move(inner))}; });
    const auto hold = []<class T>(T inner) {
      std::vector<T> all;
      all.push_back(std::move(inner));
      return all;
    };
    expect_a_limit<Tree>([&](Tree inner) { return Tree{hold(std::move(inner)), "x"}; });
    expect_a_limit<List>([&](List inner) { return List{hold(std::move(inner))}; });
    expect_a_limit<Named>([&](Named inner) {
      Named outer;
      outer.members.emplace("x", std::move(inner));
      return outer;
    });
    expect_a_limit<Defined>(
        [&](Defined inner) {
          Defined outer;
          outer.inner = hold(std::move(inner));
          return outer;
        },
        false);  // msgpack-c's own arrays, between these, are not counted
  });
}

/// Keys that all fall into one bucket of a container that has room for so many.
template <class Set>
std::vector<typename Set::key_type> colliding_keys(std::size_t count) {
  Set set;
  set.reserve(count);
  std::vector<typename Set::key_type> keys;
  for (std::size_t i = 0; i < count; ++i) keys.push_back(static_cast<typename Set::key_type>(i * set.bucket_count()));
  return keys;
}

struct Defining {
  std::unordered_set<std::uint64_t> keys;
  std::unordered_multimap<std::uint64_t, int> values;
  MSGPACK_DEFINE(keys, values)
};

TEST(Codec, U8_keys_that_were_chosen_to_collide_are_refused) {
  constexpr std::size_t many = 40'000;
  using Set = std::unordered_set<std::uint64_t>;
  const auto keys = colliding_keys<Set>(many);
  // As elements, not as bytes: as a set is packed.
  const auto as_list = packed(std::list<std::uint64_t>(keys.begin(), keys.end()));
  EXPECT_THROW(unpacked<Set>(as_list), yoke::SerializationError);
  EXPECT_THROW(unpacked<std::unordered_multiset<std::uint64_t>>(as_list), yoke::SerializationError);
  std::map<std::uint64_t, int> as_map;
  for (const auto key : keys) as_map.emplace(key, 1);
  EXPECT_THROW((unpacked<std::unordered_map<std::uint64_t, int>>(packed(as_map))), yoke::SerializationError);
  EXPECT_THROW((unpacked<std::unordered_multimap<std::uint64_t, int>>(packed(as_map))), yoke::SerializationError);
  std::list<std::uint64_t> alternating;  // two keys of one bucket, each behind all of the other
  for (std::size_t i = 0; i < many; ++i) alternating.push_back(keys[i % 2]);
  EXPECT_THROW(unpacked<std::unordered_multiset<std::uint64_t>>(packed(alternating)), yoke::SerializationError);
  const std::list<std::uint64_t> list(keys.begin(), keys.end());
  const std::map<std::uint64_t, int> none;
  EXPECT_THROW(unpacked<Defining>(packed(std::tie(list, none))), yoke::SerializationError);
  const std::list<std::uint64_t> nothing;
  EXPECT_THROW(unpacked<Defining>(packed(std::tie(nothing, as_map))), yoke::SerializationError);
}

struct BadHash {
  std::size_t operator()(int) const { return 7; }
};

TEST(Codec, U8_keys_that_happen_to_collide_are_read) {
  std::unordered_multimap<int, std::string> few_keys;
  for (int i = 0; i < 200'000; ++i) few_keys.emplace(i % 3, "x");
  expect_same(few_keys);
  std::unordered_set<int, BadHash> badly_hashed;
  for (int i = 0; i < 1'000; ++i) badly_hashed.insert(i);
  expect_same(badly_hashed);
  std::unordered_map<std::uint64_t, int> multiples;
  for (std::uint64_t i = 0; i < 200'000; ++i) multiples.emplace(i << 32, 1);
  expect_same(multiples);
  Defining defining;
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    defining.keys.insert(i);
    defining.values.emplace(i % 7, static_cast<int>(i));
  }
  const auto same = round_trip(defining);
  EXPECT_EQ(same.keys, defining.keys);
  EXPECT_EQ(same.values, defining.values);
}

TEST(Codec, G8_wrong_types_are_refused) {
  EXPECT_ANY_THROW(unpacked<std::vector<int>>(packed(std::vector<std::string>{"a"})));
  EXPECT_ANY_THROW(unpacked<std::string>(packed(1)));
  EXPECT_ANY_THROW((unpacked<std::map<int, int>>(packed(std::vector<std::string>{"a"}))));
  EXPECT_ANY_THROW((unpacked<std::tuple<int, int>>(packed(std::tuple<int>(1)))));
  EXPECT_ANY_THROW(unpacked<Person>(packed(std::tuple<int, int>(1, 2))));
  EXPECT_ANY_THROW((unpacked<std::array<int, 3>>(packed(std::array<int, 2>{1, 2}))));
  EXPECT_ANY_THROW((unpacked<std::variant<int, double>>(packed(std::pair<int, int>(7, 1)))));
  EXPECT_ANY_THROW(unpacked<std::bitset<8>>(packed(std::bitset<9>())));
  EXPECT_ANY_THROW(unpacked<std::bitset<2>>(packed(std::string("xy"))));
  EXPECT_ANY_THROW(unpacked<std::vector<double>>(packed(std::vector<std::uint8_t>{1, 2, 3})));
  EXPECT_ANY_THROW(unpacked<int>(packed(std::monostate())));
}

TEST(Codec, G8_a_reducer_that_nobody_has_is_refused) {
  for (const std::uint32_t length : {8U, 7U, 0U}) {
    yoke::PackBuffer buffer;
    yoke::Packer packer(buffer);
    packer.pack_array(2);
    packer.pack_ext(length, yoke::detail::reduced_type);
    packer.pack_ext_body("\1\2\3\4\5\6\7\10", length);
    packer.pack(1);
    const auto bytes = buffer.take();
    EXPECT_THROW(unpacked<Person>(bytes), yoke::SerializationError);
    EXPECT_THROW(unpacked<Money>(bytes), yoke::SerializationError);
    EXPECT_ANY_THROW(unpacked<std::vector<int>>(bytes));
  }
}

TEST(Codec, G8_random_bytes_are_refused_or_read) {
  std::mt19937 random(1);
  const auto good = packed(Family{{"Ann", 40, {{1, 2}}, "A"}, {}, {{"x", {}}}});
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes(good.view().begin(), good.view().end());
    for (unsigned k = 0; k <= random() % 4; ++k) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    try {
      unpacked<Family>(yoke::Bytes(bytes));
    } catch (const std::exception&) {
    }
  }
}

TEST(Bytes, short_and_long_ones_are_values) {
  for (const std::size_t length : {0U, 1U, 39U, 40U, 41U, 1000U, 100'000U}) {
    const std::vector<std::byte> content(length, std::byte{7});
    yoke::Bytes one{std::span(content)};
    const yoke::Bytes copy = one;
    yoke::Bytes moved = std::move(one);
    EXPECT_EQ(moved.size(), length);
    EXPECT_EQ(copy.size(), length);
    EXPECT_TRUE(std::equal(moved.view().begin(), moved.view().end(), content.begin(), content.end()));
    EXPECT_EQ(copy.buffer() != nullptr, length > yoke::Bytes::inline_capacity);
    moved = copy;
    moved.clear();
    EXPECT_EQ(moved.size(), 0U);
    EXPECT_EQ(copy.view().size(), length);
  }
}

struct Padded {
  char letter;
  std::int64_t number;
  short tail;
  bool operator==(const Padded&) const = default;
};
struct Nest {
  float weight;
  Padded inner[2];
  std::array<Padded, 2> more;
  long double precise;
  char end;
};
struct Real {
  double x;
  float y;
};
struct Bits {
  unsigned three : 3;
  unsigned long : 0;
  double real;
};

constexpr std::byte left_over{0xab};

/// A value in memory where something else was before.
template <class T>
struct Dirty {
  alignas(T) std::byte memory[sizeof(T)];
  Dirty() { std::memset(memory, static_cast<int>(left_over), sizeof memory); }
  T& value() { return *std::launder(reinterpret_cast<T*>(memory)); }
};
void fill(Padded& value) {
  value.letter = 'x';
  value.number = 5;
  value.tail = 7;
}
void fill(Nest& value) {
  value.weight = 1;
  for (Padded& each : value.inner) fill(each);
  for (Padded& each : value.more) fill(each);
  value.precise = 2;
  value.end = 'e';
}
void fill(Real& value) {
  value.x = 1;
  value.y = 2;
}
std::size_t left_in(std::span<const std::byte> bytes) {
  return static_cast<std::size_t>(std::ranges::count(bytes, left_over));
}

template <class T>
class Padding : public testing::Test {};
using PaddedTypes = testing::Types<Padded, Nest, Real>;
TYPED_TEST_SUITE(Padding, PaddedTypes);

TYPED_TEST(Padding, U3_what_lay_in_it_does_not_cross) {
  Dirty<TypeParam> dirty;
  fill(dirty.value());
  ASSERT_NE(left_in(dirty.memory), 0U);
  using Plain = yoke::detail::Values<std::tuple<TypeParam>>;
  yoke::PackBuffer plain;
  Plain::template pack<false>(plain, nullptr, dirty.value());
  EXPECT_EQ(left_in(plain.view()), 0U) << "an argument, or a result";
  const std::span<const TypeParam> one(&dirty.value(), 1);
  EXPECT_EQ(left_in(packed(one).view()), 0U) << "a span";
  std::vector<TypeParam> many(3);
  for (TypeParam& each : many) std::memcpy(static_cast<void*>(&each), dirty.memory, sizeof each);
  EXPECT_EQ(left_in(packed(many).view()), 0U) << "a vector";
  std::array<TypeParam, 2> two;
  for (TypeParam& each : two) std::memcpy(static_cast<void*>(&each), dirty.memory, sizeof each);
  EXPECT_EQ(left_in(packed(two).view()), 0U) << "an array";
  EXPECT_EQ(left_in(packed(std::optional(two)).view()), 0U) << "within something else";
  const auto back = unpacked<std::vector<TypeParam>>(packed(many));
  EXPECT_EQ(packed(back).size(), packed(many).size());
}

TEST(Padding, U3_values_are_not_touched) {
  Dirty<Padded> dirty;
  fill(dirty.value());
  EXPECT_EQ(round_trip(std::vector<Padded>(2, dirty.value())), std::vector<Padded>(2, dirty.value()));
  expect_same(std::vector<long double>{1.5L, -2.25L});
  expect_same(3.75L);
  Bits bits{};
  bits.three = 5;
  bits.real = 2;
  using Plain = yoke::detail::Values<std::tuple<Bits>>;
  yoke::PackBuffer plain;
  Plain::pack<false>(plain, nullptr, bits);
  const auto [back] = Plain::unpack_plain(plain.view());
  EXPECT_EQ(back.three, 5U);
  EXPECT_EQ(back.real, 2);
}

#if defined(__has_builtin) && __has_builtin(__builtin_clear_padding)
TEST(Padding, U3_nor_what_lies_between_captures) {
  const auto function = [letter = 'x', number = std::int64_t{5}] { return letter + number; };
  using F = std::remove_const_t<decltype(function)>;
  Dirty<F> dirty;
  auto* const made = new (dirty.memory) F(function);
  for (std::size_t i = 1; i < 8; ++i) dirty.memory[i] = left_over;
  const yoke::ByValue<F> crossing(*made);
  yoke::PackBuffer out;
  yoke::detail::TaskType<yoke::ByValue<F>>::pack_arguments(out, nullptr, crossing);
  EXPECT_EQ(left_in(out.view()), 0U);
}
#endif

}  // namespace
