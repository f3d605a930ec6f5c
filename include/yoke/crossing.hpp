// Closures, as programs for thread pools submit them, made into what crosses to a worker process.
//
// A thread shares its program's memory, a worker does not. So a closure may hold values, and must give back what it
// works out: captures of strings and containers are refused by the compiler, captured references and pointers by a
// SerializationError that says to what they point, at the submit (of g++; clang 14 cannot tell padding from captures,
// and looks only where there surely is none).
#pragma once

#include "yoke/language.hpp"

#include <type_traits>
#include <utility>

#include "yoke/callable.hpp"

namespace yoke::detail {

template <class F>
inline constexpr bool crosses_as_it_is =
    std::is_function_v<std::remove_pointer_t<F>> || std::is_member_function_pointer_v<F> || Stateless<F> ||
    is_by_value<F> || is_bound<F> || packable<F>();

/// The callable itself, or its bytes by by_value().
template <class F>
auto crossing(F&& f) {
  using C = CallableType<F>;
  if constexpr (crosses_as_it_is<C>) {
    return C(std::forward<F>(f));
  } else {
    static_assert(std::is_trivially_copyable_v<C>,
                  "yoke: this closure captures an object that cannot cross as bytes, such as a string or a container. "
                  "A worker is another process: pass what it needs as arguments of the task, return what it works out, "
                  "and write to a captured view of a yoke::SharedArray, not to variables of the caller");
    check_captures(f);
    return by_value_unchecked(f);
  }
}

}  // namespace yoke::detail
