// What the compiler says of a call that cannot be a task: the first error, in a sentence that says what to do in that
// case, before anything of the library is instantiated for the call.
#pragma once

#include "yoke/language.hpp"

#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "yoke/callable.hpp"
#include "yoke/codec.hpp"

// Says what submit(function, ...) and its like are called with when no type of the function could be deduced. g++
// checks such an argument before it looks into a body, and shows the return type of what is deleted; clang shows what a
// body asserts.
#ifdef __clang__
#define YOKE_REFUSE_OVERLOADED(NAME, ...)                                                                         \
  template <int otherwise = 0>                                                                                    \
  auto NAME(__VA_ARGS__) {                                                                                        \
    static_assert(otherwise != 0,                                                                                 \
                  "yoke: the name of an overloaded or template function does not say which one is meant: submit " \
                  "a lambda that calls it, or one of them, as static_cast<int (*)(int)>(&f) or f<int>");          \
  }
#else
#define YOKE_REFUSE_OVERLOADED(NAME, ...)                                                                           \
  template <int = 0>                                                                                                \
  ::yoke::detail::yoke_this_function_is_overloaded_or_a_template__submit_a_lambda_that_calls_it NAME(__VA_ARGS__) = \
      delete;
#endif

namespace yoke::detail {

struct yoke_this_function_is_overloaded_or_a_template__submit_a_lambda_that_calls_it {};

/// Why an F is no callable that can cross.
enum class Fault {
  none,
  not_callable,
  data_member,
  variadic,  // f(...), or a member function with other qualifiers than the ABI's usual ones
  function_wrapper,  // std::function and its like
  bind_expression,  // std::bind
  reference,  // std::ref(f)
  pointer_to_callable,
  values,  // captures, of which none can be an address
  addresses,  // captures that may be addresses
  objects  // captures that are more than their bytes
};

template <class F>
inline constexpr bool is_reference_wrapper = false;
template <class F>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<F>> = true;
template <class F>
concept HasSignature = requires { typename Signature<F>::Parameters; };
template <class F>
concept FunctionWrapper =
    requires(const F& f) { f.target_type(); } || requires(F& f) { f.get_future(), f.make_ready_at_thread_exit(); };
template <class F>
concept PointsToCallable =
    requires(const F& f) { *f; } && std::is_class_v<std::remove_cvref_t<decltype(*std::declval<const F&>())>> &&
    HasOneCallOperator<std::remove_cvref_t<decltype(*std::declval<const F&>())>>;

template <class F>
constexpr Fault fault_of() {
  if constexpr (std::is_member_object_pointer_v<F>) {
    return Fault::data_member;
  } else if constexpr (std::is_function_v<std::remove_pointer_t<F>> || std::is_member_function_pointer_v<F>) {
    return HasSignature<std::remove_pointer_t<F>> ? Fault::none : Fault::variadic;
  } else if constexpr (PointsToCallable<F>) {
    return Fault::pointer_to_callable;
  } else if constexpr (!std::is_class_v<F>) {
    return Fault::not_callable;
  } else if constexpr (is_by_value<F> || is_bound<F> || Stateless<F> || packable<F>()) {
    return Fault::none;
  } else if constexpr (is_reference_wrapper<F>) {
    return Fault::reference;
  } else if constexpr (FunctionWrapper<F>) {
    return Fault::function_wrapper;
  } else if constexpr (std::is_bind_expression_v<F>) {
    return Fault::bind_expression;
  } else if constexpr (!std::is_trivially_copyable_v<F>) {
    return Fault::objects;
  } else {
    return sizeof(F) < sizeof(void*) || alignof(F) < alignof(void*) ? Fault::values : Fault::addresses;
  }
}

template <class F, Fault fault>
struct CheckedCallable {
  static_assert(fault != Fault::not_callable,
                "yoke: the first argument of submit() and map() is the function to call, after the "
                "options if there are any: this one cannot be called");
  static_assert(fault != Fault::data_member,
                "yoke: a pointer to a data member is no function: submit a lambda, [](const Class& object) { return "
                "object.member; }");
  static_assert(fault != Fault::variadic,
                "yoke: a function with C's variable arguments, or a member function that is volatile or "
                "for rvalues, cannot be a task itself: submit a lambda that calls it");
  static_assert(fault != Fault::function_wrapper,
                "yoke: this callable holds state of the calling process, which a worker process cannot see: a "
                "std::function, or what "
                "is like it, keeps an address of what it calls. Submit the function or captureless lambda itself");
  static_assert(fault != Fault::bind_expression,
                "yoke: this callable holds state of the calling process, which a worker process cannot see. Use "
                "yoke::bind(f, args...) in place of std::bind, or pass the arguments to submit()");
  static_assert(fault != Fault::reference,
                "yoke: this callable is a reference to one of the calling process, which a worker process "
                "cannot see: submit the callable itself");
  static_assert(
      fault != Fault::pointer_to_callable,
      "yoke: this callable is a pointer to one of the calling process, which a worker process cannot see: submit the "
      "callable itself, *pointer");
  static_assert(
      fault != Fault::values,
      "yoke: this callable holds state of the calling process, which a worker process cannot see. Pass what it "
      "captures "
      "as arguments, or wrap a lambda that captures plain values in yoke::by_value(), or give the object a codec");
  static_assert(fault != Fault::addresses,
                "yoke: this callable holds state of the calling process, which a worker process cannot see. Where it "
                "captures this, "
                "a reference or a pointer: pass what the task needs as arguments, a copy of the object too, and return "
                "what it works "
                "out. Only where all captures are numbers and the like: pass them as arguments, or wrap a lambda that "
                "captures plain "
                "values in yoke::by_value(). An object of a class can be given a codec");
  static_assert(
      fault != Fault::objects,
      "yoke: this callable holds state of the calling process, which a worker process cannot see: captures such as "
      "strings, "
      "containers and smart pointers are more than their bytes. Pass them as arguments, or bind them to a captureless "
      "lambda with yoke::bind(f, args...); an object of a class can be given a codec");
};

template <class F>
inline constexpr bool callable_crosses = fault_of<F>() == Fault::none;

/// What stands against a call. The first that is found.
enum class Misfit {
  none,
  count,
  written_reference,  // std::ref to what the task would write to
  object_pointer,  // for the object of a member function
  future,  // in place of its value
  conversion,
  call,
  view  // as the result
};

/// A view of memory that is gone when the caller has the result; within containers and aggregates too, some levels
/// deep.
template <class T, int levels>
constexpr bool holds_view();
template <int levels, class... T>
constexpr bool any_holds_view(std::type_identity<std::tuple<T...>>) {
  return (holds_view<std::remove_cv_t<T>, levels>() || ...);
}
template <class T>
struct TypesWithin {
  using type = std::tuple<>;
};
template <template <class...> class C, class... T>
struct TypesWithin<C<T...>> {
  using type = std::tuple<T...>;
};
template <template <class, std::size_t> class C, class T, std::size_t n>
struct TypesWithin<C<T, n>> {
  using type = std::tuple<T>;
};
template <class T, int levels>
constexpr bool holds_view() {
  if constexpr (is_view<T>)
    return true;
  else if constexpr (levels == 0 || !std::is_class_v<T> || is_plain<T>() || OwnCodec<T> || MsgpackDefined<T>)
    return false;
  else if constexpr (HasBuiltinCodec<T>)
    return any_holds_view<levels - 1>(std::type_identity<typename TypesWithin<T>::type>());
  else if constexpr (PlainAggregate<T>)
    return any_holds_view<levels - 1>(decltype(with_members(std::declval<T&>(), MemberTypes()))());
  else
    return false;
}

template <class T>
inline constexpr bool refers_for_writing = false;  // std::ref, not std::cref
template <class T>
inline constexpr bool refers_for_writing<std::reference_wrapper<T>> = !std::is_const_v<T>;
/// Whether an A passed for a parameter D is a std::ref that it would write through.
template <class D, class A>
inline constexpr bool writes_back =
    refers_for_writing<Stored<A>> &&
    (refers_for_writing<Stored<D>> || (std::is_lvalue_reference_v<D> && !std::is_const_v<std::remove_reference_t<D>>));

template <class D, class A>
concept Convertible = requires(A&& a) { static_cast<Stored<D>>(std::forward<A>(a)); };

/// Of one argument, an A for a parameter D. `object`: of a member function's object.
template <class D, class A>
constexpr Misfit misfit_of_argument(bool object) {
  using To = Stored<D>;
  using From = std::remove_cvref_t<A>;
  if constexpr (writes_back<D, A>)
    return Misfit::written_reference;
  else if constexpr (wrapped_for<D, A> || Convertible<D, A>)
    return Misfit::none;
  else if constexpr (requires(A a) { *a; } && std::is_class_v<To> && !std::is_array_v<std::remove_reference_t<A>>)
    return object || Convertible<D, decltype(*std::declval<A>())> ? Misfit::object_pointer : Misfit::conversion;
  else if constexpr (!packable<To>())
    return Misfit::none;  // told by its type
  else
    return FutureOrPromise<From> ? Misfit::future : Misfit::conversion;
}

template <class F, class Declared, class Passed>
struct Fitting;
template <class F, class... D, class... A>
struct Fitting<F, TypeList<D...>, TypeList<A...>> {
  static constexpr Misfit arguments() {
    if constexpr (sizeof...(D) != sizeof...(A)) {
      return Misfit::count;
    } else {
      Misfit first = Misfit::none;
      bool object = std::is_member_function_pointer_v<F>;
      ((first = first == Misfit::none ? misfit_of_argument<D, A>(object) : first, object = false), ...);
      return first;
    }
  }
};
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

/// Whether a callable of type F takes what the worker has unpacked.
template <class F, class... D, class... P>
constexpr bool can_be_called(TypeList<D...>, std::type_identity<std::tuple<P...>>) {
  using Cross = Crossing<F>;
  using Own = decltype(first_of<typename Cross::State>(std::make_index_sequence<Cross::own_states>()));
  using G = decltype(Cross::rebuild(nullptr, std::declval<Own>()));
  if constexpr ((wrapped_for<D, P> || ...))
    return true;  // by another type than P
  else
    return std::is_invocable_v<G&, std::conditional_t<std::is_lvalue_reference_v<D>, P&, P&&>...> ||
           std::is_invocable_v<G&, P&...>;
}

template <Misfit misfit>
struct CheckedCall {
  static_assert(misfit != Misfit::count,
                "yoke: the task is called with another number of arguments than its function takes");
  static_assert(
      misfit != Misfit::written_reference,
      "yoke: std::ref does not make a task write to the caller's object: a worker is another process and has a copy of "
      "its own. Return what the task works out, or pass a yoke::SharedArray, which workers write to");
  static_assert(
      misfit != Misfit::object_pointer,
      "yoke: a pointer to an object cannot stand for it, as a worker has none of the caller's memory: pass the object "
      "itself, *pointer. The task works on a copy, and returns what the caller is to have");
  static_assert(misfit != Misfit::future, "yoke: a future cannot stand for its value in a task: pass future.get()");
  static_assert(misfit != Misfit::conversion,
                "yoke: an argument cannot be converted to the type of the function's parameter");
  static_assert(misfit != Misfit::call, "yoke: the function cannot be called with copies of these arguments");
  static_assert(misfit != Misfit::view,
                "yoke: a task cannot return a view: what it points to is gone when the caller has it. Return "
                "a std::string, a std::vector or a yoke::SharedArray, and values that hold none within");
};

template <class Tuple>
inline constexpr bool all_packable = false;
template <class... T>
inline constexpr bool all_packable<std::tuple<T...>> = (packable<T>() && ...);

/// Everything about calling an F, which crosses, with arguments of types A.
template <class F, class... A>
struct CallCheck {
  using Declared = decltype(Crossing<F>::template declared<A...>());
  using Passed = typename PassedTypes<F, A...>::type;
  using Arguments = typename StoredArguments<Declared, Passed>::type;
  static constexpr Misfit misfit() {
    constexpr Misfit arguments = Fitting<F, Declared, Passed>::arguments();
    if constexpr (arguments == Misfit::none && all_packable<Arguments>)
      return can_be_called<F>(Declared(), std::type_identity<Arguments>()) ? Misfit::none : Misfit::call;
    else
      return arguments;
  }
  static constexpr bool holds() { return misfit() == Misfit::none && all_packable<Arguments>; }
};

// A question and, where the answer is no, what does not compile and says why: to clang nothing is a constant that has
// asserted. `auto`: so that g++ instantiates it where it is called, and its sentence comes before errors that follow
// from it.
template <class F, class... A>
constexpr bool is_call() {
  if constexpr (callable_crosses<F>)
    return CallCheck<F, A...>::holds();
  else
    return false;
}
template <class F, class... A>
constexpr auto refuse_call() {
  if constexpr (!callable_crosses<F>) {
    static_assert(sizeof(CheckedCallable<F, fault_of<F>()>) != 0);
  } else {
    using Check = CallCheck<F, A...>;
    if constexpr (Check::misfit() != Misfit::none)
      static_assert(sizeof(CheckedCall<Check::misfit()>) != 0);
    else
      []<class... P>(std::type_identity<std::tuple<P...>>) {
        (check_type<P>(), ...);
      }(std::type_identity<typename Check::Arguments>());
  }
}

}  // namespace yoke::detail
