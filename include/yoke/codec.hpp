// Codec<T>: how a value of type T is packed into a message and unpacked again.
//
// Ready for: numbers, enums, strings, standard containers, optional, variant, tuple, pair, path, chrono, bitset,
// complex, unique_ptr, shared_ptr (the value), plain aggregates of up to 20 members (arrays too; none in a base class),
// and classes with MSGPACK_DEFINE, which may hold all that msgpack-c has an adaptor for, plain aggregates, and types
// with a Codec. For another type, specialise:
//
//   template <> struct yoke::Codec<Money> {
//     static void pack(yoke::Packer& p, const Money& m) { yoke::pack_value(p, m.cents()); }
//     static Money unpack(const yoke::Object& o) { return Money(yoke::unpack_value<long>(o)); }
//   };
//
// What pack and unpack throw fails the one task, as SerializationError. Arrays of numbers, and of aggregates made of
// numbers only, travel as bytes: both sides are the same program. An executor may have another way to send a type: see
// reducers.hpp. The msgpack extension type 121 is the library's own.
#pragma once

#include "yoke/language.hpp"

#include <array>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <msgpack.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "yoke/error.hpp"
#include "yoke/obstacle.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/plain.hpp"
#include "yoke/reflect.hpp"

namespace yoke {

class Reducers;  // reducers.hpp

/// A msgpack packer that knows where in the message it is.
class Packer : public msgpack::packer<PackBuffer> {
 public:
  enum class Arrays {
    bytes,  // arrays of numbers as their bytes: for the same program
    elements  // as msgpack arrays: for named tasks, whose callers know no types
  };
  explicit Packer(PackBuffer& buffer, Arrays arrays = Arrays::bytes, const Reducers* reducers = nullptr)
      : msgpack::packer<PackBuffer>(buffer), buffer_(&buffer), arrays_(arrays), reducers_(reducers) {}
  PackBuffer& buffer() const noexcept { return *buffer_; }  // not for a msgpack::packer of one's own
  Arrays arrays() const noexcept { return arrays_; }
  const Reducers* reducers() const noexcept { return reducers_; }  // null: there are none

  class Level;

 private:
  PackBuffer* buffer_;
  Arrays arrays_;
  const Reducers* reducers_;
  int arrays_open_ = 0;
  int codecs_open_ = 0;
};

namespace detail {

/// Arrays and maps within each other in a message, whoever packs it: what data nests, a stack must hold.
inline constexpr int max_depth = 512;
[[noreturn]] YOKE_API void throw_nested_too_deeply();

}  // namespace detail

/// Lives while a value is packed that others lie in: an array or a map, or a type with a codec of its own, which may
/// open any number of them, or none. Throws SerializationError where values nest deeper than a reader would take.
class Packer::Level {
 public:
  enum class Of { array, codec };
  explicit Level(Packer& packer, Of what = Of::array)
      : open_(what == Of::array ? packer.arrays_open_ : packer.codecs_open_) {
    if (open_ == detail::max_depth) detail::throw_nested_too_deeply();
    ++open_;
  }
  ~Level() { --open_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int& open_;
};

namespace detail {

template <class T>
struct BuiltinCodec;  // codec of the library's own; empty if there is none

template <class T>
concept HasBuiltinCodec = requires { sizeof(BuiltinCodec<T>); };
template <class T>
inline constexpr bool is_view = std::is_same_v<T, std::string_view>;
template <class T, std::size_t N>
inline constexpr bool is_view<std::span<T, N>> = true;

template <class T>
constexpr bool packable() {
  if constexpr (std::is_array_v<T>)
    return false;  // but as a member
  else if constexpr (OwnCodec<T> || MsgpackDefined<T> || HasBuiltinCodec<T> || is_plain<T>())
    return true;
  else if constexpr (PlainAggregate<T>)
    // Not to be asked of a lambda: g++ 12 then takes it for not trivially copyable.
    return std::is_default_constructible_v<T> && std::is_move_assignable_v<T>;
  else
    return false;
}

/// Types that a reducer may pack: all classes but those that the library itself packs.
template <class T>
inline constexpr bool reducible = std::is_class_v<T> && std::is_same_v<T, std::remove_cv_t<T>> &&
                                  (OwnCodec<T> || MsgpackDefined<T> || !HasBuiltinCodec<T>);

inline constexpr std::int8_t reduced_type = 121;  // the msgpack extension type
/// A value that a reducer packed: an array of the reducer's id, as an extension value, and of what it packed.
inline bool is_reduced(const Object& object) noexcept {
  return object.type == msgpack::type::ARRAY && object.via.array.size == 2 &&
         object.via.array.ptr[0].type == msgpack::type::EXT && object.via.array.ptr[0].via.ext.type() == reduced_type;
}
YOKE_API bool has_reducer(const Reducers& reducers, const std::type_info& type) noexcept;
/// False if there is no reducer for the type.
YOKE_API bool pack_reduced(Packer& packer, const std::type_info& type, const void* value);
using ErasedFunction = void (*)();
/// The unpacking function, a T (*)(const Object&). Throws SerializationError if this process knows no such reducer.
YOKE_API ErasedFunction find_unpacking(const Object& id, const std::type_info& type);
[[noreturn]] YOKE_API void throw_no_reducer(const std::type_info& type);
[[noreturn]] YOKE_API void throw_reduced_span(const std::type_info& type);

template <class T>
T unpack_reduced(const Object& object) {
  const auto unpack = reinterpret_cast<T (*)(const Object&)>(find_unpacking(object.via.array.ptr[0], typeid(T)));
  return unpack(object.via.array.ptr[1]);
}

struct MemberTypes {
  template <class... Member>
  constexpr auto operator()(const Member&...) const {
    return std::type_identity<std::tuple<Member...>>();
  }
};
/// Of a T without a codec: of an aggregate, that of its first member with another one than having no codec.
template <class T>
constexpr Obstacle obstacle_within() {
  if constexpr (obstacle_of<T>() != Obstacle::no_codec || !PlainAggregate<T>) {
    return obstacle_of<T>();
  } else {
    return []<class... M>(std::type_identity<std::tuple<M...>>) {
      Obstacle first = Obstacle::no_codec;
      const auto look = [&]<class Member>(std::type_identity<Member>) {
        if constexpr (!packable<Member>())
          if (first == Obstacle::no_codec) first = obstacle_within<Member>();
      };
      (look(std::type_identity<std::remove_cv_t<M>>()), ...);
      return first;
    }(decltype(with_members(std::declval<T&>(), MemberTypes()))());
  }
}
/// Does not compile where a T cannot cross, and says why.
template <class T>
constexpr auto check_type() {
  if constexpr (!packable<T>()) static_assert(sizeof(CheckedType<T, obstacle_within<T>()>) != 0);
}

/// Whether a reducer is to pack values of this plain type, or of one within it.
template <class T>
bool reduced_within(const Packer& packer) {
  if constexpr (std::is_array_v<T>) {
    return reduced_within<std::remove_all_extents_t<T>>(packer);
  } else if constexpr (!std::is_class_v<T> || is_complex<T>) {
    return false;
  } else {
    if (!packer.reducers()) return false;
    if constexpr (is_std_array<T>) {
      return reduced_within<typename T::value_type>(packer);
    } else {
      if (has_reducer(*packer.reducers(), typeid(T))) return true;
      return [&]<class... M>(std::type_identity<std::tuple<M...>>) {
        return (reduced_within<M>(packer) || ...);
      }(decltype(with_members(std::declval<T&>(), MemberTypes()))());
    }
  }
}
/// Whether arrays of this plain type travel as bytes.
template <class T>
bool as_bytes(const Packer& packer) {
  return packer.arrays() == Packer::Arrays::bytes && !reduced_within<T>(packer);
}

inline constexpr std::size_t plain_alignment = 16;

/// An array of plain elements: a msgpack bin of one byte p, p bytes of padding, then the elements, aligned to 16 in the
/// message. Returns where they are; without `data` the caller fills them in.
YOKE_API std::byte* pack_plain(Packer& packer, const void* data, std::size_t bytes);
/// The same, without what lies in their padding.
template <class T>
void pack_plain_values(Packer& packer, const T* values, std::size_t count) {
  if constexpr (has_no_padding<T>)
    pack_plain(packer, values, count * sizeof(T));
  else
    copy_without_padding(pack_plain(packer, nullptr, count * sizeof(T)), values, count);
}
/// The elements' bytes; throws SerializationError if the object is no such array of elements of `element_size` bytes.
YOKE_API std::span<const std::byte> unpack_plain(const Object& object, std::size_t element_size);
[[noreturn]] YOKE_API void throw_mismatch(const char* expected, const Object& object);
[[noreturn]] YOKE_API void throw_wrong_message_size(std::size_t got, std::size_t expected);
/// In a catch block: "the arguments could not be packed: ...", as SerializationError.
[[noreturn]] YOKE_API void throw_serialization_error(const char* what, const char* deed);
[[noreturn]] YOKE_API void throw_colliding_keys(std::size_t keys);
YOKE_API void use_large_pages(void* memory, std::size_t bytes) noexcept;
YOKE_API std::span<const Object> unpack_array(const Object& object, std::optional<std::size_t> size = {});
YOKE_API void pack_real(Packer& packer, double value);  // as a double even if it is a whole number
YOKE_API void pack_text(Packer& packer, std::string_view text);
YOKE_API std::string_view unpack_string(const Object& object);
/// Makes room for so many elements, in large pages where they are many: filling fresh memory costs more than copying.
template <class Container>
void reserve_to_fill(Container& container, std::size_t size) {
  constexpr std::size_t worth_it = 4 * 1024 * 1024;
  if constexpr (requires { container.reserve(size); }) {
    if (size * sizeof(*container.data()) < worth_it) return;
    container.reserve(size);
    use_large_pages(container.data(), size * sizeof(*container.data()));
  }
}

// Of std::array, and of arrays that are members.
template <class T>
void pack_block(Packer& p, std::span<const T> values);
template <class T>
void unpack_block(const Object& o, std::span<T> into);
// What may be such an array.
template <class T>
void pack_member(Packer& packer, const T& member);
template <class T>
void unpack_member(T& member, const Object& object);

template <class T>
T unpack_number(const Object& object) {
  try {
    return object.as<T>();
  } catch (const msgpack::type_error&) {
    throw_mismatch(std::is_same_v<T, bool>       ? "a boolean"
                   : std::is_floating_point_v<T> ? "a number"
                   : std::is_unsigned_v<T>       ? "an integer in the range of its unsigned type"
                                                 : "an integer in the range of its type",
                   object);
  }
}

template <class T>
std::span<const T> unpack_plain_as(const Object& object) {
  const auto bytes = unpack_plain(object, sizeof(T));
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

}  // namespace detail

/// Packs one value by its codec.
template <class T>
void pack_value(Packer& packer, const T& value) {
  detail::check_type<T>();
  if constexpr (detail::reducible<T>)
    if (packer.reducers() && detail::pack_reduced(packer, typeid(T), &value)) return;
  if constexpr (detail::OwnCodec<T>) {
    const Packer::Level level(packer, Packer::Level::Of::codec);
    Codec<T>::pack(packer, value);
  } else if constexpr (detail::MsgpackDefined<T>) {
    const Packer::Level level(packer, Packer::Level::Of::codec);
    value.msgpack_pack(packer);
  } else if constexpr (detail::HasBuiltinCodec<T>) {
    detail::BuiltinCodec<T>::pack(packer, value);
  } else if constexpr (detail::packable<T>()) {
    const Packer::Level level(packer);
    detail::with_members(value, [&](const auto&... member) {
      packer.pack_array(static_cast<std::uint32_t>(sizeof...(member)));
      (detail::pack_member(packer, member), ...);
    });
  }
}

/// Unpacks one value by its codec. Throws SerializationError, msgpack::type_error, or what the codec throws.
template <class T>
T unpack_value(const Object& object) {
  detail::check_type<T>();
  if constexpr (detail::reducible<T>)
    if (detail::is_reduced(object)) return detail::unpack_reduced<T>(object);
  if constexpr (detail::OwnCodec<T>) {
    return Codec<T>::unpack(object);
  } else if constexpr (detail::MsgpackDefined<T>) {
    T value;
    value.msgpack_unpack(object);
    return value;
  } else if constexpr (detail::HasBuiltinCodec<T>) {
    return detail::BuiltinCodec<T>::unpack(object);
  } else if constexpr (detail::packable<T>()) {
    T value{};
    if constexpr (detail::is_plain<T>())
      YOKE_NO_BIT_FIELD(decltype(detail::with_members(value, detail::SumOfSizes()))::value <= sizeof(T));
    detail::with_members(value, [&](auto&... member) {
      const auto items = detail::unpack_array(object, sizeof...(member));
      [[maybe_unused]] std::size_t i = 0;
      (detail::unpack_member(member, items[i++]), ...);
    });
    return value;
  }
}

template <class T>
void detail::pack_member(Packer& packer, const T& member) {
  if constexpr (std::is_array_v<T>)
    pack_block<std::remove_extent_t<T>>(packer, member);
  else
    pack_value<T>(packer, member);
}
template <class T>
void detail::unpack_member(T& member, const Object& object) {
  if constexpr (std::is_array_v<T>)
    unpack_block<std::remove_extent_t<T>>(object, member);
  else
    member = unpack_value<T>(object);
}

}  // namespace yoke

#include "yoke/standard_codecs.hpp"
