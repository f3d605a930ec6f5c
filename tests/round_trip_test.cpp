// G1: random values of nested types, packed and unpacked in both forms of arrays, are what they were. Each type begins
// with its own seeds; a failure names the type and the seed.
#include <array>
#include <bitset>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "tests/codecs/round_trip.hpp"
#include "tests/support/pool_fixture.hpp"

namespace {

using namespace yoke_test;

enum class Colour : std::uint8_t { red, green = 7, blue = 255 };
enum Sign : int { minus = -1, plus = 1 };

struct Point {
  double x;
  float y;
  std::int16_t z;
};
struct Numbers {
  bool flag;
  char letter;
  std::int8_t a;
  std::uint8_t b;
  std::int32_t c;
  std::uint32_t d;
  std::int64_t e;
  std::uint64_t f;
  float g;
  double h;
  long double i;
  char16_t j;
  char32_t k;
  wchar_t l;
  Colour m;
  Sign n;
};
struct Leaf {
  std::string name;
  std::optional<Point> place;
  std::vector<Colour> colours;
};
struct Tree {
  Leaf leaf;
  std::map<std::string, Leaf> leaves;
  std::vector<Tree> branches;
};
class Account {
 public:
  std::string owner;
  std::int64_t cents = 0;
  std::vector<std::string> notes;
  MSGPACK_DEFINE(owner, cents, notes)
};

/// Random choices, fewer of them the deeper the value is nested.
class Source {
 public:
  explicit Source(std::uint64_t seed) : random_(seed) {}
  std::uint64_t bits() { return random_(); }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  /// How many elements a container has: often none, at times many.
  std::size_t length() {
    constexpr std::size_t most[] = {40, 8, 4, 2};
    return depth_ >= std::size(most) || below(4) == 0 ? 0 : below(most[depth_] + 1);
  }
  template <class F>
  auto deeper(F&& make) {
    ++depth_;
    auto value = make();
    --depth_;
    return value;
  }

 private:
  std::mt19937_64 random_;
  std::size_t depth_ = 0;
};

template <template <class...> class C, class T>
inline constexpr bool is_a = false;
template <template <class...> class C, class... A>
inline constexpr bool is_a<C, C<A...>> = true;
template <class T>
inline constexpr bool is_bitset = false;
template <std::size_t N>
inline constexpr bool is_bitset<std::bitset<N>> = true;
template <class T>
concept Pointer = is_a<std::unique_ptr, T> || is_a<std::shared_ptr, T>;
template <class T>
concept Map = requires { typename T::mapped_type; };
template <class T>
concept Set = requires { typename T::key_type; } && !Map<T>;
template <class T>
concept Unordered = requires { typename T::hasher; };

template <class T>
T make_number(Source& source) {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_same_v<T, bool>) {
    return source.below(2) == 1;
  } else if constexpr (std::is_floating_point_v<T>) {
    switch (source.below(10)) {
      case 0: return Limits::quiet_NaN();
      case 1: return Limits::infinity();
      case 2: return -Limits::infinity();
      case 3: return T(-0.0);
      case 4: return Limits::denorm_min();
      case 5: return Limits::lowest();
      case 6: return static_cast<T>(static_cast<std::int64_t>(source.bits() % 2000) - 1000);
      default: return std::ldexp(static_cast<T>(source.bits()) / 3, static_cast<int>(source.below(60)) - 60);
    }
  } else {
    switch (source.below(6)) {
      case 0: return Limits::min();
      case 1: return Limits::max();
      case 2: return 0;
      case 3: return static_cast<T>(source.below(100));
      default: return static_cast<T>(source.bits());
    }
  }
}

template <class T>
T make(Source& source);

std::string make_text(Source& source) {
  std::string text(source.below(20) == 0 ? 100'000 : source.below(40), '\0');
  for (char& c : text) c = static_cast<char>(source.bits());  // zeros, and what is no UTF-8
  return text;
}

template <class T>
T make_container(Source& source) {
  T values;
  for (std::size_t n = source.length(); n != 0; --n) {
    if constexpr (Map<T>) {
      auto key = make<typename T::key_type>(source);
      values.emplace(std::move(key), make<typename T::mapped_type>(source));
    } else if constexpr (Set<T>) {
      values.insert(make<typename T::key_type>(source));
    } else {
      values.push_back(make<typename T::value_type>(source));
    }
  }
  return values;
}

template <class V, std::size_t I = 0>
V make_alternative(Source& source, std::size_t index) {
  if constexpr (I + 1 < std::variant_size_v<V>)
    if (index != I) return make_alternative<V, I + 1>(source, index);
  return V(std::in_place_index<I>, make<std::variant_alternative_t<I, V>>(source));
}

template <class T>
T make_value(Source& source) {
  if constexpr (std::is_arithmetic_v<T>) {
    return make_number<T>(source);
  } else if constexpr (std::is_enum_v<T>) {
    return static_cast<T>(make_number<std::underlying_type_t<T>>(source));
  } else if constexpr (std::is_same_v<T, std::string>) {
    return make_text(source);
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    return T(make_text(source));
  } else if constexpr (std::is_same_v<T, std::monostate>) {
    return {};
  } else if constexpr (is_bitset<T>) {
    T value;
    for (std::size_t i = 0; i < value.size(); ++i) value[i] = source.below(2) == 1;
    return value;
  } else if constexpr (is_a<std::complex, T>) {
    const auto real = make<typename T::value_type>(source);
    return T(real, make<typename T::value_type>(source));
  } else if constexpr (is_a<std::chrono::duration, T>) {
    return T(make<typename T::rep>(source));
  } else if constexpr (is_a<std::chrono::time_point, T>) {
    return T(make<typename T::duration>(source));
  } else if constexpr (is_a<std::optional, T>) {
    return source.below(3) == 0 ? T() : T(std::in_place, make<typename T::value_type>(source));
  } else if constexpr (Pointer<T>) {
    return source.below(3) == 0 ? T() : T(new typename T::element_type(make<typename T::element_type>(source)));
  } else if constexpr (is_a<std::pair, T>) {
    auto first = make<typename T::first_type>(source);
    return T(std::move(first), make<typename T::second_type>(source));
  } else if constexpr (is_a<std::tuple, T>) {
    return [&]<class... A>(std::type_identity<std::tuple<A...>>) {
      return T{make<A>(source)...};
    }(std::type_identity<T>());
  } else if constexpr (is_a<std::variant, T>) {
    return make_alternative<T>(source, source.below(std::variant_size_v<T>));
  } else if constexpr (yoke::detail::is_std_array<T>) {
    T values;
    for (auto& value : values) value = make<typename T::value_type>(source);
    return values;
  } else if constexpr (std::is_same_v<T, Account>) {
    Account account;
    account.owner = make_text(source);
    account.cents = make<std::int64_t>(source);
    account.notes = make<std::vector<std::string>>(source);
    return account;
  } else if constexpr (yoke::detail::PlainAggregate<T>) {
    T value{};
    yoke::detail::with_members(
        value, [&](auto&... member) { ((member = make<std::remove_cvref_t<decltype(member)>>(source)), ...); });
    return value;
  } else {
    return make_container<T>(source);
  }
}
template <class T>
T make(Source& source) {
  return source.deeper([&] { return make_value<T>(source); });
}

/// The same value, where NaN is the same as NaN and 0 not the same as -0.
template <class T>
bool same(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
  } else if constexpr (is_a<std::complex, T>) {
    return same(a.real(), b.real()) && same(a.imag(), b.imag());
  } else if constexpr (is_a<std::chrono::duration, T>) {
    return same(a.count(), b.count());
  } else if constexpr (is_a<std::optional, T> || Pointer<T>) {
    return static_cast<bool>(a) == static_cast<bool>(b) && (!a || same(*a, *b));
  } else if constexpr (is_a<std::pair, T>) {
    return same(a.first, b.first) && same(a.second, b.second);
  } else if constexpr (is_a<std::tuple, T>) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (same(std::get<I>(a), std::get<I>(b)) && ...);
    }(std::make_index_sequence<std::tuple_size_v<T>>());
  } else if constexpr (is_a<std::variant, T>) {
    return a.index() == b.index() &&
           std::visit([&](const auto& x) { return same(x, std::get<std::remove_cvref_t<decltype(x)>>(b)); }, a);
  } else if constexpr (Map<T> && Unordered<T>) {
    for (const auto& [key, value] : a)
      if (const auto found = b.find(key); found == b.end() || !same(value, found->second)) return false;
    return a.size() == b.size();
  } else if constexpr (std::is_same_v<T, Account>) {
    return a.owner == b.owner && a.cents == b.cents && a.notes == b.notes;
  } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::filesystem::path> || Unordered<T> ||
                       is_bitset<T> || is_a<std::chrono::time_point, T> || std::is_same_v<T, std::monostate>) {
    return a == b;
  } else if constexpr (requires { a.begin(); }) {
    using Item = typename T::value_type;  // of a vector<bool> the elements are no references
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Item& x, const Item& y) { return same<Item>(x, y); });
  } else if constexpr (yoke::detail::PlainAggregate<T>) {
    return yoke::detail::with_members(a, [&](const auto&... x) {
      return yoke::detail::with_members(b, [&](const auto&... y) { return (same(x, y) && ...); });
    });
  } else {
    return a == b;
  }
}

template <class... T>
using Choice = std::variant<T...>;

using NestedTypes = testing::Types<
    Numbers, Point, Leaf, Tree, Account, std::vector<Numbers>, std::vector<Point>, std::array<Point, 3>,
    std::vector<bool>, std::vector<std::vector<double>>, std::vector<std::complex<float>>, std::deque<std::list<float>>,
    std::list<std::optional<std::string>>, std::array<std::vector<std::array<long double, 2>>, 2>,
    std::map<std::string, std::vector<std::optional<Choice<std::monostate, int, double, std::string, Point>>>>,
    std::multimap<std::int8_t, std::pair<std::string, double>>, std::set<std::vector<std::string>>,
    std::multiset<std::uint8_t>, std::unordered_map<std::string, std::map<std::int64_t, Leaf>>,
    std::unordered_set<std::int32_t>, std::map<std::pair<int, std::string>, std::tuple<>>,
    std::tuple<std::string, std::unique_ptr<Tree>, std::shared_ptr<std::vector<Point>>>,
    std::optional<std::optional<std::vector<Colour>>>, Choice<Tree, Account, std::vector<Account>>,
    std::vector<std::tuple<std::filesystem::path, std::chrono::nanoseconds, std::chrono::duration<double>>>,
    std::pair<std::chrono::system_clock::time_point, std::bitset<77>>, std::vector<std::bitset<3>>, std::string>;

template <class T>
class RoundTripTest : public testing::Test {};
template <class T>
class RoundTripInWorkerTest : public HouseTest {};
TYPED_TEST_SUITE(RoundTripTest, NestedTypes);
TYPED_TEST_SUITE(RoundTripInWorkerTest, NestedTypes);

constexpr std::uint64_t values = 200;

TYPED_TEST(RoundTripTest, G1_random_values) {
  Source first_source(0);
  const auto first = make<TypeParam>(first_source);
  bool others = false;  // the comparison tells values apart
  for (const auto arrays : {yoke::Packer::Arrays::bytes, yoke::Packer::Arrays::elements})
    for (std::uint64_t seed = 0; seed < values; ++seed) {
      Source source(seed);
      const auto value = make<TypeParam>(source);
      ASSERT_TRUE(same(round_trip(value, arrays), value))
          << "seed " << seed << ", arrays " << (arrays == yoke::Packer::Arrays::bytes ? "as bytes" : "by elements");
      others |= !same(first, value);
    }
  EXPECT_TRUE(others);
}

TYPED_TEST(RoundTripInWorkerTest, G1_random_values_through_a_worker) {
  yoke::ProcessPoolExecutor pool(1);
  for (std::uint64_t seed = values; seed < values + 5; ++seed) {
    Source source(seed);
    auto value = make<TypeParam>(source);
    Source again(seed);
    auto future = pool.submit([](TypeParam v) { return v; }, make<TypeParam>(again));
    ASSERT_TRUE(same(soon(future).get(), value)) << "seed " << seed;
  }
}

}  // namespace
