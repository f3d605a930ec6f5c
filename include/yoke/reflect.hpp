// The members of a plain aggregate, by structured bindings: enough to pack one without a macro. Up to 16 members.
#pragma once

#include <cstddef>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

namespace yoke::detail {

/// Never called. Defined all the same: clang wants it where a member is an optional of a type without linkage.
struct AnyMember {
  template <class T>
  operator T() const {
    std::terminate();
  }
};

template <class T, std::size_t... I>
concept BraceConstructible = requires { T{(static_cast<void>(I), AnyMember{})...}; };

template <class T, std::size_t N>
inline constexpr bool takes_members = []<std::size_t... I>(std::index_sequence<I...>) {
  return BraceConstructible<T, I...>;
}(std::make_index_sequence<N>{});

inline constexpr std::size_t max_members = 16;

template <class T, std::size_t N = max_members>
constexpr std::size_t member_count() {
  if constexpr (takes_members<T, N>)
    return N;
  else if constexpr (N == 0)
    return 0;
  else
    return member_count<T, N - 1>();
}

/// An aggregate that is neither a union nor an array, with 1 to 16 members.
template <class T>
concept PlainAggregate = std::is_aggregate_v<T> && std::is_class_v<T> && !takes_members<T, max_members + 1> &&
                         (member_count<T>() > 0);

/// Calls f(member...) with references to all members.
template <class T, class F>
constexpr decltype(auto) with_members(T& v, F&& f) {
  constexpr std::size_t n = member_count<std::remove_const_t<T>>();
  if constexpr (n == 1) {
    auto& [a] = v;
    return f(a);
  } else if constexpr (n == 2) {
    auto& [a, b] = v;
    return f(a, b);
  } else if constexpr (n == 3) {
    auto& [a, b, c] = v;
    return f(a, b, c);
  } else if constexpr (n == 4) {
    auto& [a, b, c, d] = v;
    return f(a, b, c, d);
  } else if constexpr (n == 5) {
    auto& [a, b, c, d, e] = v;
    return f(a, b, c, d, e);
  } else if constexpr (n == 6) {
    auto& [a, b, c, d, e, g] = v;
    return f(a, b, c, d, e, g);
  } else if constexpr (n == 7) {
    auto& [a, b, c, d, e, g, h] = v;
    return f(a, b, c, d, e, g, h);
  } else if constexpr (n == 8) {
    auto& [a, b, c, d, e, g, h, i] = v;
    return f(a, b, c, d, e, g, h, i);
  } else if constexpr (n == 9) {
    auto& [a, b, c, d, e, g, h, i, j] = v;
    return f(a, b, c, d, e, g, h, i, j);
  } else if constexpr (n == 10) {
    auto& [a, b, c, d, e, g, h, i, j, k] = v;
    return f(a, b, c, d, e, g, h, i, j, k);
  } else if constexpr (n == 11) {
    auto& [a, b, c, d, e, g, h, i, j, k, l] = v;
    return f(a, b, c, d, e, g, h, i, j, k, l);
  } else if constexpr (n == 12) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m] = v;
    return f(a, b, c, d, e, g, h, i, j, k, l, m);
  } else if constexpr (n == 13) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, o] = v;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, o);
  } else if constexpr (n == 14) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, o, p] = v;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, o, p);
  } else if constexpr (n == 15) {
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, o, p, q] = v;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q);
  } else {
    static_assert(n == 16);
    auto& [a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r] = v;
    return f(a, b, c, d, e, g, h, i, j, k, l, m, o, p, q, r);
  }
}

}  // namespace yoke::detail
