// wrap_non_serializable(obj, pack_fn, unpack_fn): sends an object of a type that has no codec, or in another way than
// by its codec, without touching the type.
//
//   executor.submit(area, yoke::wrap_non_serializable(shape, [](const Shape& s) { return s.to_text(); },
//                                                     [](const std::string& text) { return Shape::parse(text); }));
//
// The function's parameter may be of the type itself. The wrapper is also an argument for bind(), and may be a result.
#pragma once

#include "yoke/language.hpp"

#include <type_traits>
#include <utility>

#include "yoke/codec.hpp"
#include "yoke/custom_packing.hpp"

namespace yoke {

/// Holds a T, and converts to it.
template <class T, class Pack, class Unpack>
class Wrapped {
 public:
  using value_type = T;
  explicit Wrapped(T value) : value_(std::move(value)) {}

  T& get() & noexcept { return value_; }
  const T& get() const& noexcept { return value_; }
  T&& get() && noexcept { return std::move(value_); }
  operator T&() & noexcept { return value_; }
  operator const T&() const& noexcept { return value_; }
  operator T&&() && noexcept { return std::move(value_); }

 private:
  T value_;
};

template <class T, class Pack, class Unpack>
struct Codec<Wrapped<T, Pack, Unpack>> {
  using Packing = detail::CustomPacking<T, Pack, Unpack>;
  static void pack(Packer& packer, const Wrapped<T, Pack, Unpack>& wrapped) { Packing::pack(packer, wrapped.get()); }
  static Wrapped<T, Pack, Unpack> unpack(const Object& object) {
    return Wrapped<T, Pack, Unpack>(Packing::unpack(object));
  }
};

/// Copies `value`, or moves it: see custom_packing.hpp for the functions.
template <class T, class Pack, class Unpack>
auto wrap_non_serializable(T&& value, Pack, Unpack) {
  using Value = std::remove_cvref_t<T>;
  static_assert(sizeof(detail::CustomPacking<Value, Pack, Unpack>) != 0);  // says here what is wrong with the functions
  return Wrapped<Value, Pack, Unpack>(std::forward<T>(value));
}

namespace detail {

template <class T>
inline constexpr bool is_wrapped = false;
template <class T, class Pack, class Unpack>
inline constexpr bool is_wrapped<Wrapped<T, Pack, Unpack>> = true;

/// An argument of type A for a parameter of type D that has no use for the wrapper.
template <class D, class A>
inline constexpr bool wrapped_for = is_wrapped<std::remove_cvref_t<A>> && !is_wrapped<std::remove_cvref_t<D>>;

}  // namespace detail
}  // namespace yoke
