// What can be submitted, and how it crosses: signatures, by_value and bound calls.
//
// A callable crosses as the address of a trampoline made for its type and signature, which must be in code that worker
// and parent share; so it has no state of its own, or a state that is packed: functions, captureless lambdas, member
// functions, by_value(lambda), bind(f, args...), and objects with a codec.
#pragma once

#include "yoke/language.hpp"

#include <bit>
#include <cstddef>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "yoke/call.hpp"
#include "yoke/codec.hpp"
#include "yoke/custom_packing.hpp"
#include "yoke/serializer.hpp"
#include "yoke/shared_array.hpp"
#include "yoke/wrap.hpp"

namespace yoke {

/// A lambda whose captures cross as their bytes. Made by by_value().
template <class F>
class ByValue {
 public:
  static_assert(std::is_trivially_copyable_v<F>,
                "yoke: by_value takes a lambda whose captures are trivially copyable values: pass strings and "
                "containers as arguments instead");
  explicit ByValue(F f) : f_(f) {}
  const F& function() const noexcept { return f_; }

 private:
  F f_;
};

// Whether by_value looks for captured pointers: costs a look at each 8 bytes, a microsecond where one looks like an
// address.
#ifndef YOKE_CHECK_CAPTURES
#define YOKE_CHECK_CAPTURES 1
#endif

namespace detail {
YOKE_API void check_captured_words(const void* captures, std::size_t size);

/// What lies in the padding between captures is no capture. Where a compiler cannot tell where that is, only captures
/// that surely have none are looked at.
template <class F>
void check_captures([[maybe_unused]] F captures) {
#if defined(__has_builtin) && __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&captures);
  check_captured_words(&captures, sizeof captures);
#else
  if constexpr (std::has_unique_object_representations_v<F>) check_captured_words(&captures, sizeof captures);
#endif
}
}  // namespace detail

/// Lets a lambda with captures cross. Captures must be values: a captured reference or pointer would mean nothing in
/// the worker, and is a SerializationError (unless YOKE_CHECK_CAPTURES is defined as 0).
template <class F>
ByValue<F> by_value(F f) {
  if constexpr (YOKE_CHECK_CAPTURES != 0 && std::is_trivially_copyable_v<F>) detail::check_captures(f);
  return ByValue<F>(f);
}
/// The same without that look: for numbers that look like addresses.
template <class F>
ByValue<F> by_value_unchecked(F f) {
  return ByValue<F>(f);
}

template <class F, class... Bound>
class BoundCall {
 public:
  BoundCall(F f, Bound... bound) : f_(std::move(f)), bound_(std::move(bound)...) {}
  const F& function() const noexcept { return f_; }
  const std::tuple<Bound...>& bound() const noexcept { return bound_; }

 private:
  F f_;
  std::tuple<Bound...> bound_;
};

namespace detail {

template <class T>
using Stored = std::remove_cvref_t<T>;
template <class T>
struct StoredArgument {  // of an argument to a callable without one signature: C strings become std::string
  using type = std::decay_t<T>;
};
template <class T>
  requires std::is_convertible_v<T, const char*>
struct StoredArgument<T> {
  using type = std::string;
};

template <class... P>
struct TypeList {
  using Tuple = std::tuple<Stored<P>...>;
};

/// What is stored of each argument: its parameter's type, or the wrapper that carries one of it.
template <class Declared, class Passed>
struct StoredArguments {
  using type = typename Declared::Tuple;  // called with another number of arguments: refused when they are packed
};
template <class... D, class... A>
  requires(sizeof...(D) == sizeof...(A))
struct StoredArguments<TypeList<D...>, TypeList<A...>> {
  using type = std::tuple<std::conditional_t<wrapped_for<D, A>, Stored<A>, Stored<D>>...>;
};
template <class D, class P>
decltype(auto) unwrapped(P& stored) {
  if constexpr (wrapped_for<D, P>)
    return stored.get();
  else
    return (stored);
}

template <class F>
using CallableType =
    std::conditional_t<std::is_function_v<std::remove_reference_t<F>>, std::decay_t<F>, std::remove_cvref_t<F>>;

template <class F>
struct Signature;  // ::Result, ::Parameters, of a type that has one signature
template <class R, class... P>
struct Signature<R(P...)> {
  using Result = R;
  using Parameters = TypeList<P...>;
};
template <class R, class... P>
struct Signature<R(P...) noexcept> : Signature<R(P...)> {};
template <class F>
struct Signature<F*> : Signature<F> {};
#define YOKE_MEMBER_SIGNATURE(QUALIFIERS, OBJECT) \
  template <class R, class C, class... P>         \
  struct Signature<R (C::*)(P...) QUALIFIERS> {   \
    using Result = R;                             \
    using Parameters = TypeList<P...>;            \
    using WithObject = TypeList<OBJECT, P...>;    \
  };
YOKE_MEMBER_SIGNATURE(, C&)
YOKE_MEMBER_SIGNATURE(const, const C&)
YOKE_MEMBER_SIGNATURE(noexcept, C&)
YOKE_MEMBER_SIGNATURE(const noexcept, const C&)
YOKE_MEMBER_SIGNATURE(&, C&)
YOKE_MEMBER_SIGNATURE(const&, const C&)
#undef YOKE_MEMBER_SIGNATURE

template <class F>
concept HasOneCallOperator = requires { &F::operator(); };
template <class F>
inline constexpr bool is_by_value = false;
template <class F>
inline constexpr bool is_by_value<ByValue<F>> = true;
template <class F>
inline constexpr bool is_bound = false;
template <class F, class... B>
inline constexpr bool is_bound<BoundCall<F, B...>> = true;
/// How callables of type F cross. State: what of them is packed; its first own_states values make the callable again
/// (`rebuild`, in the worker), the others are its first arguments. `declared`: all parameter types of the call, given
/// the types of the bound and of the passed arguments.
template <class F>
struct Crossing {  // a stateless object or one with a codec
  using State = std::conditional_t<Stateless<F>, std::tuple<>, std::tuple<F>>;
  static constexpr std::size_t own_states = std::tuple_size_v<State>;
  template <class... A>
  static auto declared() {
    if constexpr (HasOneCallOperator<F>)
      return typename Signature<decltype(&F::operator())>::Parameters();
    else
      return TypeList<typename StoredArgument<A>::type...>();
  }
  static const void* target(const F&) { return nullptr; }
  static State state(const F& f) {
    if constexpr (Stateless<F>)
      return {};
    else
      return State(f);
  }
  static F rebuild(const void*, [[maybe_unused]] State&& state) {
    if constexpr (Stateless<F>)
      return F{};
    else
      return std::get<0>(std::move(state));
  }
};

template <class F>
  requires std::is_function_v<F>
struct Crossing<F*> {
  using State = std::tuple<>;
  static constexpr std::size_t own_states = 0;
  template <class... A>
  static auto declared() {
    return typename Signature<F>::Parameters();
  }
  static const void* target(F* f) { return reinterpret_cast<const void*>(f); }
  static State state(F*) { return {}; }
  static F* rebuild(const void* target, State&&) { return reinterpret_cast<F*>(const_cast<void*>(target)); }
};

template <class M>
  requires std::is_member_function_pointer_v<M>
struct Crossing<M> {
  // The Itanium ABI's {pointer or 1 + offset into the virtual table, adjustment}: only a pointer needs translating.
  struct Layout {
    std::uintptr_t pointer;
    std::ptrdiff_t adjustment;
  };
  static_assert(sizeof(M) == sizeof(Layout));
#if defined(__aarch64__) || defined(__arm__)
  static bool is_virtual(const Layout& l) { return (l.adjustment & 1) != 0; }
#else
  static bool is_virtual(const Layout& l) { return (l.pointer & 1) != 0; }
#endif
  static Layout layout(M m) {
    Layout l;
    std::memcpy(&l, &m, sizeof l);
    return l;
  }
  using State = std::tuple<std::array<std::int64_t, 2>>;
  static constexpr std::size_t own_states = 1;
  template <class... A>
  static auto declared() {
    return typename Signature<M>::WithObject();
  }
  static const void* target(M m) {
    const Layout l = layout(m);
    return is_virtual(l) ? nullptr : reinterpret_cast<const void*>(l.pointer);
  }
  static State state(M m) {
    const Layout l = layout(m);
    return State({is_virtual(l) ? static_cast<std::int64_t>(l.pointer) : 0, l.adjustment});
  }
  static M rebuild(const void* target, State&& state) {
    const auto& [pointer, adjustment] = std::get<0>(state);
    const Layout l{target ? reinterpret_cast<std::uintptr_t>(target) : static_cast<std::uintptr_t>(pointer),
                   adjustment};
    M m;
    std::memcpy(&m, &l, sizeof m);
    return m;
  }
};

template <class F>
struct Crossing<ByValue<F>> {
  using State = std::tuple<std::array<std::byte, sizeof(F)>>;
  static constexpr std::size_t own_states = 1;
  template <class... A>
  static auto declared() {
    return Crossing<F>::template declared<A...>();
  }
  static const void* target(const ByValue<F>&) { return nullptr; }
  static State state(const ByValue<F>& f) {
    State s;
    copy_without_padding(std::get<0>(s).data(), f.function());
    return s;
  }
  static F rebuild(const void*, State&& state) { return std::bit_cast<F>(std::get<0>(state)); }
};

/// Calls whose state begins with captures that have room for a SharedView.
template <class F>
inline constexpr bool may_capture_views = false;
template <class F>
inline constexpr bool may_capture_views<ByValue<F>> = sizeof(F) >= sizeof(SharedPlace);
template <class F, class... B>
inline constexpr bool may_capture_views<BoundCall<F, B...>> = may_capture_views<F>;
/// Lets the message hold the shared memory whose views are among the captures, packed from `begin` on.
YOKE_API void hold_captured_views(PackBuffer& out, std::size_t begin, std::span<const std::byte> captures);

template <class F, class... B>
struct Crossing<BoundCall<F, B...>> {
  using Inner = Crossing<F>;
  using State = decltype(std::tuple_cat(std::declval<typename Inner::State>(), std::declval<std::tuple<B...>>()));
  static constexpr std::size_t own_states = Inner::own_states;
  template <class... A>
  static auto declared() {
    return Inner::template declared<B..., A...>();
  }
  static const void* target(const BoundCall<F, B...>& f) { return Inner::target(f.function()); }
  static State state(const BoundCall<F, B...>& f) { return std::tuple_cat(Inner::state(f.function()), f.bound()); }
  template <class S>
  static auto rebuild(const void* target, S&& state) {
    return Inner::rebuild(target, std::move(state));
  }
};

/// The types of the bound and of the passed arguments.
template <class F, class... A>
struct PassedTypes {
  using type = TypeList<A...>;
};
template <class F, class... B, class... A>
struct PassedTypes<BoundCall<F, B...>, A...> : PassedTypes<F, B..., A...> {};

template <class Tuple, std::size_t... I>
std::tuple<std::tuple_element_t<I, Tuple>...> first_of(std::index_sequence<I...>);

}  // namespace detail
}  // namespace yoke
