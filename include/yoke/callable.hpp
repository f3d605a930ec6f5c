// What can be submitted, and how its call is packed: signatures, trampolines, by_value and bind.
//
// A callable crosses as the address of a trampoline made for its type and signature, which must be in code that worker
// and parent share; so it has no state of its own, or a state that is packed: functions, captureless lambdas, member
// functions, by_value(lambda), bind(f, args...), and objects with a codec.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "yoke/call.hpp"
#include "yoke/codec.hpp"

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
/// Lets a lambda with captures cross. Captures must be values: a captured reference or pointer would mean nothing in
/// the worker.
template <class F>
ByValue<F> by_value(F f) {
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
#define YOKE_MEMBER_SIGNATURE(QUALIFIERS, OBJECT)                                      \
  template <class R, class C, class... P>                                             \
  struct Signature<R (C::*)(P...) QUALIFIERS> {                                       \
    using Result = R;                                                                 \
    using Parameters = TypeList<P...>;                                                \
    using WithObject = TypeList<OBJECT, P...>;                                        \
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
template <class F>
concept Stateless = std::is_class_v<F> && std::is_empty_v<F> && std::is_default_constructible_v<F>;

template <class F>
constexpr void check_callable() {
  static_assert(std::is_function_v<std::remove_pointer_t<F>> || std::is_member_function_pointer_v<F> || Stateless<F> ||
                    is_by_value<F> || is_bound<F> || packable<F>(),
                "yoke: this callable holds state of the calling process, which a worker process cannot see. Pass what "
                "it captures as arguments, wrap a lambda that captures plain values in yoke::by_value(), or give the "
                "object a codec");
}

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
    std::memcpy(std::get<0>(s).data(), &f.function(), sizeof(F));
    return s;
  }
  static F rebuild(const void*, State&& state) { return std::bit_cast<F>(std::get<0>(state)); }
};

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

/// Values side by side: plain ones as their bytes, others as one msgpack array.
template <class Tuple>
struct Values;
template <class... T>
struct Values<std::tuple<T...>> {
  static constexpr bool plain = (is_plain<T>() && ...);
  static constexpr std::size_t plain_size = (sizeof(T) + ... + 0);

  template <class... A>  // each convertible to its T
  static void pack(PackBuffer& out, A&&... values) {
    static_assert(sizeof...(A) == sizeof...(T), "yoke: the task is called with another number of arguments than its "
                                                "function takes");
    if constexpr (plain) {
      (pack_bytes<T>(out, std::forward<A>(values)), ...);
    } else {
      try {
        Packer packer(out);
        packer.pack_array(sizeof...(T));
        (pack_one<T>(packer, std::forward<A>(values)), ...);
      } catch (...) {
        throw_serialization_error("the arguments", "packed");
      }
    }
  }
  static std::tuple<T...> unpack_plain(std::span<const std::byte> in) {
    if (in.size() != plain_size) throw_wrong_message_size(in.size(), plain_size);
    std::tuple<T...> values;
    [[maybe_unused]] const std::byte* at = in.data();
    std::apply([&](T&... v) { ((std::memcpy(static_cast<void*>(&v), at, sizeof(T)), at += sizeof(T)), ...); }, values);
    return values;
  }
  static std::tuple<T...> unpack_object(const Object& object) {
    [[maybe_unused]] const auto items = unpack_array(object, sizeof...(T));
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple<T...>{unpack_value<T>(items[I])...};
    }(std::index_sequence_for<T...>{});
  }

 private:
  template <class P, class A>
  static void pack_bytes(PackBuffer& out, A&& value) {
    const P v = static_cast<P>(std::forward<A>(value));
    std::memcpy(out.extend(sizeof v), &v, sizeof v);
  }
  template <class P, class A>
  static void pack_one(Packer& packer, A&& value) {
    if constexpr (std::is_same_v<std::remove_cvref_t<A>, P>)
      pack_value<P>(packer, value);
    else
      pack_value<P>(packer, P(std::forward<A>(value)));
  }
};

template <class R>
void pack_result(PackBuffer& out, const R& value) {
  if constexpr (is_plain<R>()) {
    std::memcpy(out.extend(sizeof value), &value, sizeof value);
  } else {
    Packer packer(out);
    pack_value<R>(packer, value);
  }
}
template <class R>
R unpack_result(std::span<const std::byte> in) {
  if constexpr (std::is_void_v<R>) {
    return;
  } else if constexpr (is_plain<R>()) {
    if (in.size() != sizeof(R)) throw_wrong_message_size(in.size(), sizeof(R));
    R value;
    std::memcpy(static_cast<void*>(&value), in.data(), sizeof value);
    return value;
  } else {
    try {
      return unpack_value<R>(Message(in).object());
    } catch (...) {
      throw_serialization_error("the result", "unpacked");
    }
  }
}

template <class Tuple, class List>
struct FirstAndList;
template <class... S, class... D>
struct FirstAndList<std::tuple<S...>, TypeList<D...>> {
  using type = std::tuple<S..., Stored<D>...>;
};
template <class Tuple, std::size_t... I>
std::tuple<std::tuple_element_t<I, Tuple>...> first_of(std::index_sequence<I...>);

/// Everything about submitting an F with arguments of types A.
template <class F, class... A>
struct TaskType {
  using Cross = Crossing<F>;
  using State = typename Cross::State;
  static constexpr std::size_t own_states = Cross::own_states;
  using Own = decltype(first_of<State>(std::make_index_sequence<own_states>()));
  using Declared = decltype(Cross::template declared<A...>());
  using All = typename FirstAndList<Own, Declared>::type;

  // Values and rvalue references are moved from the worker's copy, lvalue references bind to it.
  template <class G, class... D, class... P>
  static decltype(auto) call(G& f, TypeList<D...>, P&... p) {
    if constexpr (std::is_invocable_v<G&, std::conditional_t<std::is_lvalue_reference_v<D>, P&, P&&>...>)
      return std::invoke(f, static_cast<std::conditional_t<std::is_lvalue_reference_v<D>, P&, P&&>>(p)...);
    else
      return std::invoke(f, p...);
  }
  static decltype(auto) invoke(const void* target, All& all) {
    return [&]<std::size_t... S, std::size_t... P>(std::index_sequence<S...>,
                                                   std::index_sequence<P...>) -> decltype(auto) {
      auto f = Cross::rebuild(target, Own(std::get<S>(std::move(all))...));
      return call(f, Declared(), std::get<own_states + P>(all)...);
    }(std::make_index_sequence<own_states>(), std::make_index_sequence<std::tuple_size_v<All> - own_states>());
  }

  using Returned = decltype(invoke(nullptr, std::declval<All&>()));
  using Result = std::remove_cvref_t<Returned>;

  template <class... X>
  static void pack_arguments(PackBuffer& out, const F& f, X&&... arguments) {
    std::apply([&](const auto&... s) { Values<All>::pack(out, s..., std::forward<X>(arguments)...); },
               Cross::state(f));
  }

  static void run_all(Call& c, All& all) {
    c.enter(Phase::run);
    if constexpr (std::is_void_v<Result>) {
      invoke(c.target(), all);
      c.enter(Phase::encode);
    } else {
      auto&& result = invoke(c.target(), all);
      c.enter(Phase::encode);
      pack_result<Result>(c.result(), result);
    }
    c.publish();
  }
  static void trampoline(Call& c) {
    if constexpr (Values<All>::plain) {
      All all = Values<All>::unpack_plain(c.arguments());
      run_all(c, all);
    } else {
      const Message message(c.arguments());
      All all = Values<All>::unpack_object(message.object());
      run_all(c, all);
    }
  }
  static inline Callable callable{&trampoline, &typeid(F)};
};

template <class F>
using CallableType = std::conditional_t<std::is_function_v<std::remove_reference_t<F>>, std::decay_t<F>,
                                        std::remove_cvref_t<F>>;

}  // namespace detail

/// A callable that carries packed arguments: f(bound..., arguments...).
template <class F, class... A>
auto bind(F&& f, A&&... arguments) {
  using C = detail::CallableType<F>;
  using All = typename detail::TaskType<C, A...>::All;
  constexpr std::size_t before = std::tuple_size_v<typename detail::Crossing<C>::State>;
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return BoundCall<C, std::tuple_element_t<before + I, All>...>(
        std::forward<F>(f), std::tuple_element_t<before + I, All>(std::forward<A>(arguments))...);
  }(std::index_sequence_for<A...>{});
}

/// A call that every worker of a pool makes once, before its first task. What it throws breaks the pool.
template <class F, class... A>
Initializer initializer(F&& f, A&&... arguments) {
  using C = detail::CallableType<F>;
  detail::check_callable<C>();
  using Type = detail::TaskType<C, A...>;
  const C& callable = f;
  PackBuffer packed;
  Type::pack_arguments(packed, callable, std::forward<A>(arguments)...);
  return Initializer(Type::callable, detail::Crossing<C>::target(callable), packed.take());
}

}  // namespace yoke
