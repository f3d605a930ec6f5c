// The members of a plain aggregate, by structured bindings: enough to pack one without a macro. Up to 20 members.
#pragma once

#include "yoke/language.hpp"

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

namespace yoke::detail {

/// Converts to anything but T. Never called. Defined all the same, like the others: clang wants it where a member is an
/// optional of a type without linkage.
template <class T>
struct AnyMember {
  template <class M>
    requires(!std::is_same_v<M, T>)
  operator M() const {
    std::terminate();
  }
};
/// Converts to any base of T, or to empty ones alone. Never called.
template <class T, bool Empty>
struct AnyBase {
  AnyBase() = default;
  AnyBase(const AnyBase&) = delete;  // or a std::any, as first member, would take it
  template <class B>
    requires(std::is_base_of_v<B, T> && !std::is_same_v<B, T> && (!Empty || std::is_empty_v<B>))
  operator B() const {
    std::terminate();
  }
};

struct NoBase {};  // whoever takes it takes anything

template <class T, bool Empty, std::size_t... I>
concept BeginsWithBases = requires { T{(static_cast<void>(I), AnyBase<T, Empty>())..., AnyBase<T, Empty>()}; } &&
                          !requires { T{(static_cast<void>(I), AnyBase<T, Empty>())..., NoBase()}; };
template <class T, bool Empty, std::size_t N = 0>
constexpr std::size_t base_count() {
  constexpr bool has_more = []<std::size_t... I>(std::index_sequence<I...>) {
    return BeginsWithBases<T, Empty, I...>;
  }(std::make_index_sequence<N>());
  if constexpr (has_more)
    return base_count<T, Empty, N + 1>();
  else
    return N;
}

inline constexpr std::size_t max_members = 20;
inline constexpr std::size_t uncountable = max_members + 1;

template <class T, std::size_t... I>
concept TakesMembers = requires { T{(static_cast<void>(I), AnyMember<T>())...}; };
template <class T, std::size_t N = 0>
constexpr std::size_t initializer_count() {
  constexpr bool takes_one_more = []<std::size_t... I>(std::index_sequence<I...>) {
    return TakesMembers<T, I...>;
  }(std::make_index_sequence<N + 1>());
  if constexpr (takes_one_more && N < uncountable)
    return initializer_count<T, N + 1>();
  else
    return N;
}

/// How many bases and members an aggregate has: as many as it takes empty initialisers, which stand for an array as a
/// whole. Where a member cannot be made from one, as many as it takes initialisers of any kind.
template <class T>
constexpr std::size_t element_count() {
#define YOKE_ELEMENTS(n, ...)                                  \
  if constexpr (!requires { T{__VA_ARGS__{}}; }) {             \
    if constexpr (requires { T{__VA_ARGS__ AnyMember<T>()}; }) \
      return initializer_count<T>();                           \
    else                                                       \
      return n;                                                \
  } else
  // clang-format off
  YOKE_ELEMENTS(0)
  YOKE_ELEMENTS(1, {},)
  YOKE_ELEMENTS(2, {}, {},)
  YOKE_ELEMENTS(3, {}, {}, {},)
  YOKE_ELEMENTS(4, {}, {}, {}, {},)
  YOKE_ELEMENTS(5, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(6, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(7, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(8, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(9, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(10, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(11, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(12, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(13, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(14, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(15, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(16, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(17, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(18, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(19, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  YOKE_ELEMENTS(20, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},)
  // clang-format on
  return uncountable;
#undef YOKE_ELEMENTS
}

template <class T>
constexpr std::size_t member_count() {
  constexpr std::size_t elements = element_count<T>();
  constexpr std::size_t bases = elements == 0 || elements == uncountable ? 0 : base_count<T, false>();
  if constexpr (bases == 0)
    return elements;
  else
    return base_count<T, true>() == bases ? elements - bases : uncountable;
}

/// An aggregate that is neither a union nor an array, with up to 20 members and none in a base, which can be made
/// empty.
template <class T>
concept PlainAggregate =
    std::is_aggregate_v<T> && std::is_class_v<T> && requires { T{}; } && member_count<T>() <= max_members;

#define YOKE_NO_BIT_FIELD(condition)                                                                          \
  static_assert(condition,                                                                                    \
                "yoke: an aggregate with a bit-field cannot cross to a worker: no reference binds to such a " \
                "member. Give it members of whole types, such as std::uint8_t, or specialise yoke::Codec for it")
#if defined(__clang__) && __clang_major__ < 16  // which cannot ask
#define YOKE_MEMBERS(...)  \
  auto& [__VA_ARGS__] = v; \
  return f(__VA_ARGS__)
#else
#define YOKE_MEMBERS(...)                     \
  auto& [__VA_ARGS__] = v;                    \
  if constexpr (requires { f(__VA_ARGS__); }) \
    return f(__VA_ARGS__);                    \
  else                                        \
    YOKE_NO_BIT_FIELD(sizeof(T) == 0)
#endif
/// Calls f(member...) with references to all members.
template <class T, class F>
constexpr decltype(auto) with_members([[maybe_unused]] T& v, F&& f) {
  constexpr std::size_t n = member_count<std::remove_const_t<T>>();
  if constexpr (n == 0) {
    return f();
  } else if constexpr (n == 1) {
    YOKE_MEMBERS(a);
  } else if constexpr (n == 2) {
    YOKE_MEMBERS(a, b);
  } else if constexpr (n == 3) {
    YOKE_MEMBERS(a, b, c);
  } else if constexpr (n == 4) {
    YOKE_MEMBERS(a, b, c, d);
  } else if constexpr (n == 5) {
    YOKE_MEMBERS(a, b, c, d, e);
  } else if constexpr (n == 6) {
    YOKE_MEMBERS(a, b, c, d, e, g);
  } else if constexpr (n == 7) {
    YOKE_MEMBERS(a, b, c, d, e, g, h);
  } else if constexpr (n == 8) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i);
  } else if constexpr (n == 9) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j);
  } else if constexpr (n == 10) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k);
  } else if constexpr (n == 11) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l);
  } else if constexpr (n == 12) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m);
  } else if constexpr (n == 13) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o);
  } else if constexpr (n == 14) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p);
  } else if constexpr (n == 15) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q);
  } else if constexpr (n == 16) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r);
  } else if constexpr (n == 17) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r, s);
  } else if constexpr (n == 18) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r, s, t);
  } else if constexpr (n == 19) {
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r, s, t, u);
  } else {
    static_assert(n == 20);
    YOKE_MEMBERS(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r, s, t, u, w);
  }
}

#undef YOKE_MEMBERS

}  // namespace yoke::detail
