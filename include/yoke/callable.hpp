// What can be submitted, and how its call is packed: signatures, trampolines, by_value and bind.
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
// address. On unless asserts are off; may be defined for the program's own reasons.
#ifndef YOKE_CHECK_CAPTURES
#ifdef NDEBUG
#define YOKE_CHECK_CAPTURES 0
#else
#define YOKE_CHECK_CAPTURES 1
#endif
#endif

namespace detail {
YOKE_API void check_captured_words(const void* captures, std::size_t size);

/// What lies in the padding between captures is no capture. Where a compiler cannot tell where that is, only captures that
/// surely have none are looked at.
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

/// Lets a lambda with captures cross. Captures must be values: a captured reference or pointer would mean nothing in the
/// worker, and is a SerializationError in debug builds (see YOKE_CHECK_CAPTURES).
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

/// A task's second form: all values are msgpack, so that each can be asked for. Used where reducers or set_serializer()
/// may want plain values otherwise than as their bytes.
struct ObjectForm {
  Packer::Arrays arrays = Packer::Arrays::bytes;
  const Reducers* reducers = nullptr;
};
/// The form in which tasks for this pool are packed now; empty: the usual one.
inline std::optional<ObjectForm> form_for(const Pool& pool) {
  const bool elements = serializer() == Serializer::msgpack;
  const Reducers& jobs = pool.job_reducers();
  if (!elements && jobs.empty() && pool.result_reducers().empty()) return std::nullopt;
  return ObjectForm{elements ? Packer::Arrays::elements : Packer::Arrays::bytes, jobs.empty() ? nullptr : &jobs};
}

/// How a task's result is packed: as msgpack even if it is plain, in the object form.
struct ResultForm {
  bool objects = false;
  Packer::Arrays arrays = Packer::Arrays::bytes;
};

/// Values side by side: plain ones as their bytes, others as one msgpack array. In the object form one msgpack array of
/// the form of arrays and then all values.
template <class Tuple>
struct Values;
template <class... T>
struct Values<std::tuple<T...>> {
  static constexpr bool plain = (is_plain<T>() && ...);
  static constexpr std::size_t plain_size = (sizeof(T) + ... + 0);

  /// Each value is convertible to its T. `Forms`: whether the task has an object form at all; null: not in that one.
  template <bool Forms, class... A>
  static void pack(PackBuffer& out, const ObjectForm* form, A&&... values) {
    static_assert(sizeof...(A) == sizeof...(T), "yoke: the task is called with another number of arguments than its "
                                                "function takes");
    if constexpr (plain)
      if (!Forms || !form) {
        (pack_bytes<T>(out, std::forward<A>(values)), ...);
        return;
      }
    if constexpr (!plain || Forms) {
      try {
        Packer packer(out, form ? form->arrays : Packer::Arrays::bytes, form ? form->reducers : nullptr);
        const Packer::Level level(packer);
        packer.pack_array(static_cast<std::uint32_t>(sizeof...(T) + (form ? 1 : 0)));
        if (form) packer.pack(form->arrays == Packer::Arrays::elements);
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
  /// Of the object form it also tells how arrays are to be packed in the result.
  static std::tuple<T...> unpack_object(const Object& object, ResultForm& form) {
    const auto items = unpack_array(object, sizeof...(T) + (form.objects ? 1 : 0));
    if (form.objects && unpack_value<bool>(items[0])) form.arrays = Packer::Arrays::elements;
    [[maybe_unused]] const Object* const first = items.data() + (form.objects ? 1 : 0);
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple<T...>{unpack_value<T>(first[I])...};
    }(std::index_sequence_for<T...>{});
  }
  static std::tuple<T...> unpack_object(const Object& object) {
    ResultForm form;
    return unpack_object(object, form);
  }

 private:
  template <class P, class A>
  static void pack_bytes(PackBuffer& out, A&& value) {
    const P v = static_cast<P>(std::forward<A>(value));
    copy_without_padding(out.extend(sizeof v), v);
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
void pack_result(const Call& call, const R& value, ResultForm form) {
  PackBuffer& out = call.result();
  if constexpr (is_plain<R>())
    if (!form.objects) {
      copy_without_padding(out.extend(sizeof value), value);
      return;
    }
  Packer packer(out, form.arrays, call.result_reducers());
  pack_value<R>(packer, value);
}
template <class R>
R unpack_plain_result(std::span<const std::byte> in) {
  if (in.size() != sizeof(R)) throw_wrong_message_size(in.size(), sizeof(R));
  R value;
  std::memcpy(static_cast<void*>(&value), in.data(), sizeof value);
  return value;
}
template <class R>
R unpack_result(const Bytes& in, [[maybe_unused]] bool objects = false) {
  if constexpr (std::is_void_v<R>) {
    return;
  } else {
    if constexpr (is_plain<R>())
      if (!objects) return unpack_plain_result<R>(in.view());
    try {
      const ResultScope scope(in);
      return unpack_value<R>(Message(in.view()).object());
    } catch (...) {
      throw_serialization_error("the result", "unpacked");
    }
  }
}

/// False for types whose values surely speak of no shared memory.
template <class R>
constexpr bool may_share() {
  if constexpr (std::is_void_v<R>)
    return false;
  else if constexpr (PushableSequence<R> && !OwnCodec<R> && !MsgpackDefined<R>)
    return !is_plain<typename R::value_type>() && !std::is_same_v<typename R::value_type, std::string>;
  else
    return !is_plain<R>() && !std::is_same_v<R, std::string>;
}
/// The length of a packed result, where the type has one.
template <class R>
constexpr std::optional<std::size_t> packed_bytes() {
  if constexpr (std::is_void_v<R>)
    return 0;
  else if constexpr (is_plain<R>())
    return sizeof(R);
  else
    return std::nullopt;
}

template <class Tuple>
inline constexpr bool any_class = false;
template <class... T>
inline constexpr bool any_class<std::tuple<T...>> = (std::is_class_v<T> || ...);
template <class Tuple>
inline constexpr bool any_reducible = false;
template <class... T>
inline constexpr bool any_reducible<std::tuple<T...>> = (reducible<T> || ...);
template <class Tuple, std::size_t... I>
std::tuple<std::tuple_element_t<I, Tuple>...> first_of(std::index_sequence<I...>);

template <class T>
inline constexpr bool refers_for_writing = false;  // std::ref, not std::cref
template <class T>
inline constexpr bool refers_for_writing<std::reference_wrapper<T>> = !std::is_const_v<T>;
/// Whether an A passed for a parameter D is a std::ref that it would write through.
template <class D, class A>
inline constexpr bool writes_back =
    refers_for_writing<Stored<A>> &&
    (refers_for_writing<Stored<D>> || (std::is_lvalue_reference_v<D> && !std::is_const_v<std::remove_reference_t<D>>));
/// Of the parameters that are passed: bind() passes the first ones alone.
template <class... D, class... A>
constexpr bool any_writes_back(TypeList<D...>, TypeList<A...>) {
  if constexpr (sizeof...(D) >= sizeof...(A))
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (writes_back<std::tuple_element_t<I, std::tuple<D...>>, std::tuple_element_t<I, std::tuple<A...>>> || ...);
    }(std::index_sequence_for<A...>());
  else
    return false;
}

/// Everything about submitting an F with arguments of types A.
template <class F, class... A>
struct TaskType {
  using Cross = Crossing<F>;
  using State = typename Cross::State;
  static constexpr std::size_t own_states = Cross::own_states;
  using Own = decltype(first_of<State>(std::make_index_sequence<own_states>()));
  using Declared = decltype(Cross::template declared<A...>());
  static_assert(!any_writes_back(Declared(), typename PassedTypes<F, A...>::type()),
                "yoke: std::ref does not make a task write to the caller's object: a worker is another process and has a copy of "
                "its own. Return what the task works out, or pass a yoke::SharedArray, which workers write to");
  using Arguments = typename StoredArguments<Declared, typename PassedTypes<F, A...>::type>::type;
  using All = decltype(std::tuple_cat(std::declval<Own>(), std::declval<Arguments>()));

  // Values and rvalue references are moved from the worker's copy, lvalue references bind to it.
  template <class G, class... D, class... P>
  static decltype(auto) call(G& f, TypeList<D...>, P&... p) {
    if constexpr ((wrapped_for<D, P> || ...))
      return call(f, TypeList<D...>(), unwrapped<D>(p)...);
    else if constexpr (std::is_invocable_v<G&, std::conditional_t<std::is_lvalue_reference_v<D>, P&, P&&>...>)
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
  static_assert(!is_view<Result>, "yoke: a task cannot return a view: what it points to is gone when the caller has it. Return "
                                  "a std::string, a std::vector or a yoke::SharedArray");
  /// Whether the object form differs for this task; those of numbers alone have no second trampoline.
  static constexpr bool has_object_form = any_class<Arguments> || any_reducible<Own> || std::is_class_v<Result>;

  /// `form`: null for the usual one.
  template <class... X>
  static void pack_arguments(PackBuffer& out, const ObjectForm* form, const F& f, X&&... arguments) {
    [[maybe_unused]] const std::size_t begin = out.size();
    const auto state = Cross::state(f);
    std::apply(
        [&](const auto&... s) {
          Values<All>::template pack<has_object_form>(out, form, s..., std::forward<X>(arguments)...);
        },
        state);
    if constexpr (may_capture_views<F>) hold_captured_views(out, begin, std::get<0>(state));
  }

  static void run_all(Call& c, All& all, ResultForm form = {}) {
    c.enter(Phase::run);
    if constexpr (std::is_void_v<Result>) {
      invoke(c.target(), all);
      c.enter(Phase::encode);
    } else {
      auto&& result = invoke(c.target(), all);
      c.enter(Phase::encode);
      pack_result<Result>(c, result, form);
    }
    c.publish();
  }
  static void run_message(Call& c, ResultForm form) {
    const Message message(c.arguments());
    All all = Values<All>::unpack_object(message.object(), form);
    run_all(c, all, form);
  }
  static void trampoline(Call& c) {
    if constexpr (Values<All>::plain) {
      All all = Values<All>::unpack_plain(c.arguments());
      run_all(c, all);
    } else {
      run_message(c, {});
    }
  }
  static void object_trampoline(Call& c) { run_message(c, {.objects = true}); }
  static inline Callable callable{.trampoline = &trampoline,
                                  .type = &typeid(F),
                                  .result_may_share = may_share<Result>(),
                                  .result_bytes = packed_bytes<Result>()};
  static inline Callable object_callable{.trampoline = &object_trampoline, .type = &typeid(F), .objects = true};

  /// What runs a task that is packed in this form.
  static const Callable& callable_for([[maybe_unused]] const std::optional<ObjectForm>& form) {
    if constexpr (has_object_form)
      if (form) return object_callable;
    return callable;
  }
  static std::optional<ObjectForm> form_for([[maybe_unused]] const Pool& pool) {
    if constexpr (has_object_form)
      return detail::form_for(pool);
    else
      return std::nullopt;
  }
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
  Type::pack_arguments(packed, nullptr, callable, std::forward<A>(arguments)...);
  return Initializer(Type::callable, detail::Crossing<C>::target(callable), packed.take());
}

}  // namespace yoke
