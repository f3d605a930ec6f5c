// A way to send a type that its own codec does not know of: two functions, one for each side. What
// wrap_non_serializable and Reducers have in common.
//
//   pack_fn:   value (const T&), any value that can be packed; or void (Packer&, const T&)
//   unpack_fn: T (value) of what pack_fn returned;             or T (const Object&)
//
// Both are called in other processes, so they hold nothing: captureless lambdas.
#pragma once

#include "yoke/language.hpp"

#include <type_traits>

#include "yoke/codec.hpp"

namespace yoke::detail {

template <class F>
concept Stateless = std::is_class_v<F> && std::is_empty_v<F> && std::is_default_constructible_v<F>;

/// What pack_fn returns.
template <class T, class Pack>
struct PackedAs {
  using type = void;  // it writes to a Packer
};
template <class T, class Pack>
  requires std::is_invocable_v<const Pack&, const T&>
struct PackedAs<T, Pack> {
  using type = std::remove_cvref_t<std::invoke_result_t<const Pack&, const T&>>;
};

template <class T, class Pack, class Unpack>
struct CustomPacking {
  static_assert(Stateless<Pack> && Stateless<Unpack>,
                "yoke: pack_fn and unpack_fn are called in other processes, which see nothing that they hold: give "
                "captureless lambdas. A function goes into one: [](const T& value) { return pack(value); }");
  static constexpr bool writes = std::is_invocable_v<const Pack&, Packer&, const T&>;
  using Value = typename PackedAs<T, Pack>::type;
  static_assert(writes || !std::is_void_v<Value>,
                "yoke: pack_fn takes a const T& and returns a value that can be packed, or takes a Packer& and a "
                "const T&");
  static_assert(!std::is_same_v<Value, T>, "yoke: pack_fn must return another type than it is to pack");
  static constexpr bool reads = [] {
    if constexpr (writes || std::is_void_v<Value>)
      return true;
    else
      return !std::is_invocable_v<const Unpack&, Value>;
  }();
  static_assert(!reads || std::is_invocable_r_v<T, const Unpack&, const Object&>,
                "yoke: unpack_fn takes what pack_fn returned, or a const Object&, and returns a T");

  static void pack(Packer& packer, const T& value) {
    if constexpr (writes)
      Pack()(packer, value);
    else
      pack_value<Value>(packer, Pack()(value));
  }
  static T unpack(const Object& object) {
    if constexpr (reads)
      return Unpack()(object);
    else
      return Unpack()(unpack_value<Value>(object));
  }
};

}  // namespace yoke::detail
