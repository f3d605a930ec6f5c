// A call of a function with arguments: how it is packed, and the trampoline that runs it in a worker.
#pragma once

#include "yoke/language.hpp"

#include <cstddef>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "yoke/call.hpp"
#include "yoke/callable.hpp"
#include "yoke/codec.hpp"
#include "yoke/initializer.hpp"
#include "yoke/serializer.hpp"
#include "yoke/task_check.hpp"

namespace yoke {
namespace detail {

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
  bool in_array = false;  // with the results of other items, which nests it one level deeper
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
    static_assert(sizeof...(A) == sizeof...(T));
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
      pack_value<P>(packer, static_cast<P>(std::forward<A>(value)));
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
  std::optional<Packer::Level> array;
  if (form.in_array) array.emplace(packer);
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
/// Everything about submitting an F with arguments of types A.
template <class F, class... A>
struct TaskType {
  using Cross = Crossing<F>;
  using State = typename Cross::State;
  static constexpr std::size_t own_states = Cross::own_states;
  using Own = decltype(first_of<State>(std::make_index_sequence<own_states>()));
  using Declared = decltype(Cross::template declared<A...>());
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
  static_assert(sizeof(CheckedCall < holds_view<Result, 3>() ? Misfit::view : Misfit::none >) != 0);
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

/// Whether an F called with arguments of types A is a task.
template <class F, class... A>
constexpr bool is_task() {
  if constexpr (is_call<F, A...>()) {
    using Result = typename TaskType<F, A...>::Result;
    return std::is_void_v<Result> || packable<Result>();
  } else {
    return false;
  }
}
/// Does not compile, and says why it is none.
template <class F, class... A>
constexpr auto refuse_task() {
  if constexpr (is_call<F, A...>())
    check_type<typename TaskType<F, A...>::Result>();
  else
    refuse_call<F, A...>();
}

}  // namespace detail

/// A callable that carries packed arguments: f(bound..., arguments...).
template <class F, class... A>
auto bind(F&& f, A&&... arguments) {
  using C = detail::CallableType<F>;
  constexpr bool writes = detail::any_writes_back(decltype(detail::Crossing<C>::template declared<A...>())(),
                                                  typename detail::PassedTypes<C, A...>::type());
  if constexpr (!detail::callable_crosses<C>) {
    detail::refuse_call<C, A...>();
  } else if constexpr (writes) {
    static_assert(sizeof(detail::CheckedCall < writes ? detail::Misfit::written_reference : detail::Misfit::none >) !=
                  0);
  } else {
    using All = typename detail::TaskType<C, A...>::All;
    constexpr std::size_t before = std::tuple_size_v<typename detail::Crossing<C>::State>;
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return BoundCall<C, std::tuple_element_t<before + I, All>...>(
          std::forward<F>(f), std::tuple_element_t<before + I, All>(std::forward<A>(arguments))...);
    }(std::index_sequence_for<A...>{});
  }
}
YOKE_REFUSE_OVERLOADED(bind, ...)

/// A call that every worker of a pool makes once, before its first task. What it throws breaks the pool.
template <class F, class... A>
Initializer initializer(F&& f, A&&... arguments) {
  using C = detail::CallableType<F>;
  if constexpr (detail::is_task<C, A...>()) {
    using Type = detail::TaskType<C, A...>;
    const C& callable = f;
    PackBuffer packed;
    Type::pack_arguments(packed, nullptr, callable, std::forward<A>(arguments)...);
    return Initializer(Type::callable, detail::Crossing<C>::target(callable), packed.take());
  } else {
    detail::refuse_task<C, A...>();
    return {};
  }
}
YOKE_REFUSE_OVERLOADED(initializer, ...)

}  // namespace yoke
