// Plain types, whose bytes are their value, and their bytes without what lies in the padding: that is whatever was
// there before, such as pointers of this program, and no business of the process that gets them.
//
// Where the compiler has no __builtin_clear_padding, members are copied one by one; bit-fields and captures of lambdas,
// whose members cannot be had, are then copied as they are.
#pragma once

#include "yoke/language.hpp"

#include <array>
#include <cfloat>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <msgpack.hpp>
#include <type_traits>
#include <utility>

#include "yoke/pack_buffer.hpp"
#include "yoke/reflect.hpp"

namespace yoke {

using Object = msgpack::object;

template <class T>
struct Codec;  // codec.hpp

namespace detail {

template <class T>
concept OwnCodec = requires { sizeof(Codec<T>); };
template <class T>
concept MsgpackDefined = requires(const T& t, T& m, msgpack::packer<PackBuffer>& p, const Object& o) {
  t.msgpack_pack(p);
  m.msgpack_unpack(o);
};

/// Types whose bytes are their value: numbers, enums, and aggregates and arrays of them.
template <class T>
constexpr bool is_plain();
/// For with_members. A lambda in its place makes clang 14 crash when the header is precompiled.
struct ArePlain {
  template <class... Member>
  constexpr auto operator()(const Member&...) const {
    return std::bool_constant<(is_plain<Member>() && ...)>();
  }
};
template <class T>
concept Number = std::is_arithmetic_v<T> || std::is_enum_v<T>;
template <class T>
inline constexpr bool is_std_array = false;
template <class T, std::size_t N>
inline constexpr bool is_std_array<std::array<T, N>> = true;
template <class T>
inline constexpr bool is_complex = false;
template <class T>
inline constexpr bool is_complex<std::complex<T>> = true;

template <class T>
constexpr bool is_plain() {
  if constexpr (Number<T> || is_complex<T>)
    return true;
  else if constexpr (std::is_array_v<T>)
    return is_plain<std::remove_all_extents_t<T>>();
  else if constexpr (OwnCodec<T> || MsgpackDefined<T> || !std::is_trivially_copyable_v<T>)
    return false;
  else if constexpr (is_std_array<T>)
    return is_plain<typename T::value_type>();
  else if constexpr (PlainAggregate<T> && !std::is_empty_v<T>)
    return decltype(with_members(std::declval<T&>(), ArePlain()))::value;
  else
    return false;
}

/// Floating-point numbers side by side and nothing else.
template <class T>
constexpr bool is_all_real();
struct AreAllReal {
  template <class... Member>
  constexpr auto operator()(const Member&...) const {
    return std::bool_constant<((sizeof(Member) + ... + 0)) != 0 && (is_all_real<Member>() && ...)>();
  }
};
struct SumOfSizes {
  template <class... Member>
  constexpr auto operator()(const Member&...) const {
    return std::integral_constant<std::size_t, (sizeof(Member) + ... + 0)>();
  }
};
template <class T>
constexpr bool is_all_real() {
  if constexpr (std::is_array_v<T>)
    return is_all_real<std::remove_all_extents_t<T>>();
  else if constexpr (is_complex<T> || is_std_array<T>)
    return is_all_real<typename T::value_type>();
  else if constexpr (std::is_class_v<T> && is_plain<T>())
    return decltype(with_members(std::declval<T&>(), AreAllReal()))::value &&
           decltype(with_members(std::declval<T&>(), SumOfSizes()))::value == sizeof(T);
  else
    return std::is_same_v<T, float> || std::is_same_v<T, double>;
}

/// Surely: of others, which may have bit-fields, only the compiler knows.
template <class T>
inline constexpr bool has_no_padding = std::has_unique_object_representations_v<T> || is_all_real<T>();

#if defined(__has_builtin) && __has_builtin(__builtin_clear_padding)
template <class T>
void copy_without_padding(std::byte* to, const T& value) {
  alignas(T) std::byte copy[sizeof(T)];
  std::memcpy(copy, std::addressof(value), sizeof(T));
  if constexpr (!has_no_padding<T>) __builtin_clear_padding(reinterpret_cast<T*>(copy));
  std::memcpy(to, copy, sizeof(T));
}
#else
template <class T>
void copy_members(std::byte* to, const T& value) {  // into zeros
  [[maybe_unused]] const auto copy_at = [&](const auto& member) {
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(std::addressof(member)) -
                              reinterpret_cast<std::uintptr_t>(std::addressof(value));
    if (at > sizeof(T) - sizeof member)
      std::memcpy(to, std::addressof(value), sizeof(T));  // a copy of a bit-field
    else
      copy_members(to + at, member);
  };
  if constexpr (std::is_same_v<T, long double>) {
    std::memcpy(to, &value, LDBL_MANT_DIG == 64 ? 10 : sizeof value);
  } else if constexpr (is_complex<T>) {
    copy_members(to, value.real());
    copy_members(to + sizeof(T) / 2, value.imag());
  } else if constexpr (has_no_padding<T> || !is_plain<T>()) {
    std::memcpy(to, std::addressof(value), sizeof(T));
  } else if constexpr (std::is_array_v<T> || is_std_array<T>) {
    for (const auto& element : value) copy_at(element);
  } else {
    with_members(value, [&](const auto&... member) { (copy_at(member), ...); });
  }
}
template <class T>
void copy_without_padding(std::byte* to, const T& value) {
  std::memset(to, 0, sizeof(T));
  copy_members(to, value);
}
#endif

/// `count` values, side by side.
template <class T>
void copy_without_padding(std::byte* to, const T* values, std::size_t count) {
  if constexpr (has_no_padding<T>) {
    if (count != 0) std::memcpy(to, values, count * sizeof(T));
  } else {
    for (std::size_t i = 0; i != count; ++i) copy_without_padding(to + i * sizeof(T), values[i]);
  }
}

}  // namespace detail
}  // namespace yoke
