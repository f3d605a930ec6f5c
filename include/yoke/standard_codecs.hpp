// The codecs of the standard library's types. Included by codec.hpp: do not include it alone.
#pragma once

#include "yoke/language.hpp"

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <msgpack.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "yoke/codec.hpp"

namespace yoke {
namespace detail {

template <class T>
  requires std::is_arithmetic_v<T>
struct BuiltinCodec<T> {
  static void pack(Packer& p, T v) {
    if constexpr (std::same_as<T, long double>)
      pack_plain_values(p, &v, 1);
    else if constexpr (std::same_as<T, char16_t> || std::same_as<T, char32_t> || std::same_as<T, wchar_t> ||
                       std::same_as<T, char8_t>)
      p.pack(static_cast<std::uint32_t>(v));
    else if constexpr (std::floating_point<T>)
      pack_real(p, v);
    else
      p.pack(v);
  }
  static T unpack(const Object& o) {
    if constexpr (std::same_as<T, long double>) {
      const auto bytes = unpack_plain(o, sizeof(T));
      if (bytes.size() != sizeof(T)) throw_mismatch("one long double", o);
      T v;
      std::memcpy(&v, bytes.data(), sizeof v);
      return v;
    } else if constexpr (std::same_as<T, char16_t> || std::same_as<T, char32_t> || std::same_as<T, wchar_t> ||
                         std::same_as<T, char8_t>) {
      return static_cast<T>(unpack_number<std::uint32_t>(o));
    } else {
      return unpack_number<T>(o);
    }
  }
};

template <class T>
  requires std::is_enum_v<T>
struct BuiltinCodec<T> {
  using Under = std::underlying_type_t<T>;
  static void pack(Packer& p, T v) { pack_value(p, static_cast<Under>(v)); }
  static T unpack(const Object& o) { return static_cast<T>(unpack_value<Under>(o)); }
};

template <>
struct BuiltinCodec<std::string> {
  static void pack(Packer& p, const std::string& v) { pack_text(p, v); }
  static std::string unpack(const Object& o) {
    const auto text = unpack_string(o);
    std::string v;
    reserve_to_fill(v, text.size());
    v.assign(text);
    return v;
  }
};
template <>
struct BuiltinCodec<std::string_view> {  // a view into the message
  static void pack(Packer& p, std::string_view v) { pack_text(p, v); }
  static std::string_view unpack(const Object& o) { return unpack_string(o); }
};
template <>
struct BuiltinCodec<std::filesystem::path> {
  static void pack(Packer& p, const std::filesystem::path& v) { pack_text(p, v.native()); }
  static std::filesystem::path unpack(const Object& o) { return std::filesystem::path(unpack_string(o)); }
};
template <>
struct BuiltinCodec<std::monostate> {
  static void pack(Packer& p, std::monostate) { p.pack_nil(); }
  static std::monostate unpack(const Object&) { return {}; }
};

template <class T>
  requires(is_plain<std::remove_const_t<T>>())
struct BuiltinCodec<std::span<T>> {  // a view into the message, aligned
  static_assert(std::is_const_v<T>, "yoke: a span parameter is a view into the message: write std::span<const T>");
  static_assert(alignof(T) <= plain_alignment,
                "yoke: a span is a view into the message, which is aligned to 16 bytes: "
                "take these elements as std::vector");
  static void pack(Packer& p, std::span<T> v) {
    if (reduced_within<std::remove_const_t<T>>(p)) throw_reduced_span(typeid(T));
    pack_plain_values(p, v.data(), v.size());
  }
  static std::span<T> unpack(const Object& o) { return unpack_plain_as<std::remove_const_t<T>>(o); }
};

template <class T>
concept PushableSequence = requires(T t, typename T::value_type v) {
  t.begin();
  t.size();
  t.emplace_back(std::move(v));
} && !std::same_as<T, std::string>;

template <PushableSequence T>
struct BuiltinCodec<T> {
  using Item = typename T::value_type;
  static constexpr bool contiguous_plain =
      requires(const T& t) { t.data(); } && is_plain<Item>() && !std::same_as<T, std::vector<bool>>;
  static void pack(Packer& p, const T& v) {
    if constexpr (contiguous_plain)
      if (as_bytes<Item>(p)) return pack_plain_values<Item>(p, v.data(), v.size());
    const Packer::Level level(p);
    p.pack_array(static_cast<std::uint32_t>(v.size()));
    for (const auto& item : v) pack_value<Item>(p, item);
  }
  static T unpack(const Object& o) {
    T v;
    if (contiguous_plain && o.type == msgpack::type::BIN) {
      unpack_bytes(o, v);
      return v;
    }
    const auto items = unpack_array(o);
    if constexpr (requires { v.reserve(items.size()); }) v.reserve(items.size());
    for (const auto& item : items) v.emplace_back(unpack_value<Item>(item));
    return v;
  }

 private:
  static void unpack_bytes([[maybe_unused]] const Object& o, [[maybe_unused]] T& v) {
    if constexpr (contiguous_plain) {
      const auto bytes = unpack_plain(o, sizeof(Item));
      const auto* first = reinterpret_cast<const Item*>(bytes.data());
      reserve_to_fill(v, bytes.size() / sizeof(Item));
      if (reinterpret_cast<std::uintptr_t>(first) % alignof(Item) == 0) {
        v.assign(first, first + bytes.size() / sizeof(Item));
      } else {
        v.resize(bytes.size() / sizeof(Item));
        if (!bytes.empty()) std::memcpy(static_cast<void*>(v.data()), bytes.data(), bytes.size());
      }
    }
  }
};

/// Values side by side, for codecs of arrays and matrices: as bytes if they are plain, unless the packer wants
/// elements.
template <class T>
void pack_block(Packer& p, std::span<const T> values) {
  if constexpr (is_plain<T>())
    if (as_bytes<T>(p)) return pack_plain_values<T>(p, values.data(), values.size());
  const Packer::Level level(p);
  p.pack_array(static_cast<std::uint32_t>(values.size()));
  for (const T& value : values) pack_member<T>(p, value);
}
/// How many there are.
template <class T>
std::size_t block_size(const Object& o) {
  return is_plain<T>() && o.type == msgpack::type::BIN ? unpack_plain(o, sizeof(T)).size() / sizeof(T)
                                                       : unpack_array(o).size();
}
template <class T>
void unpack_block(const Object& o, std::span<T> into) {
  if (block_size<T>(o) != into.size()) throw_mismatch("an array of the same length", o);
  if constexpr (is_plain<T>())
    if (o.type == msgpack::type::BIN) {
      const auto bytes = unpack_plain(o, sizeof(T));
      if (!into.empty()) std::memcpy(static_cast<void*>(into.data()), bytes.data(), bytes.size());
      return;
    }
  const auto items = unpack_array(o);
  for (std::size_t i = 0; i < into.size(); ++i) unpack_member(into[i], items[i]);
}

template <class T, std::size_t N>
struct BuiltinCodec<std::array<T, N>> {
  static void pack(Packer& p, const std::array<T, N>& v) { pack_block<T>(p, v); }
  static std::array<T, N> unpack(const Object& o) {
    std::array<T, N> v{};
    unpack_block<T>(o, v);
    return v;
  }
};

template <class T>
concept AssociativeContainer = requires(T t, typename T::key_type k) {
  t.size();
  t.find(k);
  t.end();
};

template <class T>
concept UnorderedContainer =
    AssociativeContainer<T> && requires(T& t, const T& c, const typename T::key_type& k, std::size_t n) {
      c.bucket_size(c.bucket(k));
      c.key_eq()(k, k);
      t.reserve(n);
    };

/// Fills an unordered container with what a message holds. Whoever packed it may have chosen keys that share a bucket,
/// so that each insertion walks along all before it: the steps are counted, and too many are a SerializationError.
template <UnorderedContainer T>
class UnorderedFilling {
 public:
  UnorderedFilling(T& into, std::size_t count)
      : into_(into), last_(into.end()), steps_left_(free_steps + steps_of_a_key * count) {
    into.reserve(count);
  }
  template <class... Value>
  void add(typename T::key_type key, Value&&... value) {
    // One that follows its equal is found by it, however many there are.
    if (last_ == into_.end() || !into_.key_eq()(key_of(*last_), key)) {
      const std::size_t steps = into_.bucket_size(into_.bucket(key));
      if (steps > steps_left_) throw_colliding_keys(into_.size());
      steps_left_ -= steps;
    }
    last_ = into_.emplace_hint(last_, std::move(key), std::forward<Value>(value)...);
  }

 private:
  static constexpr std::size_t free_steps = 1'000'000;  // a bad hash of few keys harms nobody
  static constexpr std::size_t steps_of_a_key = 16;

  static const typename T::key_type& key_of(const typename T::value_type& item) {
    if constexpr (requires { typename T::mapped_type; })
      return item.first;
    else
      return item;
  }
  T& into_;
  typename T::const_iterator last_;
  std::size_t steps_left_;
};

template <AssociativeContainer T>
struct BuiltinCodec<T> {
  static constexpr bool is_map = requires { typename T::mapped_type; };
  static void pack(Packer& p, const T& v) {
    const Packer::Level level(p);
    if constexpr (is_map) {
      p.pack_map(static_cast<std::uint32_t>(v.size()));
      for (const auto& [key, value] : v) {
        pack_value(p, key);
        pack_value(p, value);
      }
    } else {
      p.pack_array(static_cast<std::uint32_t>(v.size()));
      for (const auto& key : v) pack_value(p, key);
    }
  }
  static T unpack(const Object& o) {
    T v;
    if constexpr (is_map) {
      if (o.type != msgpack::type::MAP) throw_mismatch("a map", o);
      auto insert = inserter(v, o.via.map.size);
      for (const auto& pair : std::span(o.via.map.ptr, o.via.map.size))
        insert(unpack_value<typename T::key_type>(pair.key), unpack_value<typename T::mapped_type>(pair.val));
    } else {
      const auto items = unpack_array(o);
      auto insert = inserter(v, items.size());
      for (const auto& item : items) insert(unpack_value<typename T::key_type>(item));
    }
    return v;
  }

 private:
  static auto inserter(T& into, std::size_t count) {
    if constexpr (UnorderedContainer<T>)
      return [filling = UnorderedFilling<T>(into, count)]<class... V>(V&&... value) mutable {
        filling.add(std::forward<V>(value)...);
      };
    else
      return [&into]<class... V>(V&&... value) {
        if constexpr (is_map)
          into.emplace(std::forward<V>(value)...);
        else
          into.insert(std::forward<V>(value)...);
      };
  }
};

template <class T>
struct BuiltinCodec<std::optional<T>> {
  static void pack(Packer& p, const std::optional<T>& v) {  // an array of 0 or 1, so that optionals nest
    const Packer::Level level(p);
    p.pack_array(v ? 1 : 0);
    if (v) pack_value(p, *v);
  }
  static std::optional<T> unpack(const Object& o) {
    const auto items = unpack_array(o);
    if (items.empty()) return std::nullopt;
    return unpack_value<T>(items[0]);
  }
};

template <class P>
concept OwningPointer = std::same_as<P, std::unique_ptr<typename P::element_type>> ||
                        std::same_as<P, std::shared_ptr<typename P::element_type>>;

template <OwningPointer P>
struct BuiltinCodec<P> {
  using T = typename P::element_type;
  static void pack(Packer& p, const P& v) {
    const Packer::Level level(p);
    p.pack_array(v ? 1 : 0);
    if (v) pack_value<std::remove_const_t<T>>(p, *v);
  }
  static P unpack(const Object& o) {
    const auto items = unpack_array(o);
    return items.empty() ? P() : P(new T(unpack_value<std::remove_const_t<T>>(items[0])));
  }
};

template <class A, class B>
struct BuiltinCodec<std::pair<A, B>> {
  static void pack(Packer& p, const std::pair<A, B>& v) {
    const Packer::Level level(p);
    p.pack_array(2);
    pack_value(p, v.first);
    pack_value(p, v.second);
  }
  static std::pair<A, B> unpack(const Object& o) {
    const auto items = unpack_array(o, 2);
    return {unpack_value<std::remove_const_t<A>>(items[0]), unpack_value<B>(items[1])};
  }
};

template <class... T>
struct BuiltinCodec<std::tuple<T...>> {
  static void pack(Packer& p, const std::tuple<T...>& v) {
    const Packer::Level level(p);
    p.pack_array(sizeof...(T));
    std::apply([&](const auto&... item) { (pack_value(p, item), ...); }, v);
  }
  static std::tuple<T...> unpack(const Object& o) {
    [[maybe_unused]] const auto items = unpack_array(o, sizeof...(T));
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::tuple<T...>{unpack_value<T>(items[I])...};
    }(std::index_sequence_for<T...>{});
  }
};

template <class... T>
struct BuiltinCodec<std::variant<T...>> {
  using V = std::variant<T...>;
  static void pack(Packer& p, const V& v) {
    if (v.valueless_by_exception()) throw SerializationError("a variant that holds no value cannot be packed");
    const Packer::Level level(p);
    p.pack_array(2);
    p.pack(static_cast<std::uint32_t>(v.index()));
    std::visit([&](const auto& item) { pack_value(p, item); }, v);
  }
  static V unpack(const Object& o) {
    const auto items = unpack_array(o, 2);
    const auto index = items[0].as<std::uint32_t>();
    std::optional<V> v;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((index == I ? static_cast<void>(v.emplace(std::in_place_index<I>, unpack_value<T>(items[1]))) : void()), ...);
    }(std::index_sequence_for<T...>{});
    if (!v) throw_mismatch("a variant of fewer alternatives", o);
    return std::move(*v);
  }
};

template <class Rep, class Period>
struct BuiltinCodec<std::chrono::duration<Rep, Period>> {
  using D = std::chrono::duration<Rep, Period>;
  static void pack(Packer& p, D v) { pack_value(p, v.count()); }
  static D unpack(const Object& o) { return D(unpack_value<Rep>(o)); }
};
template <class C, class D>
struct BuiltinCodec<std::chrono::time_point<C, D>> {
  using T = std::chrono::time_point<C, D>;
  static void pack(Packer& p, T v) { pack_value(p, v.time_since_epoch()); }
  static T unpack(const Object& o) { return T(unpack_value<D>(o)); }
};
template <class T>
struct BuiltinCodec<std::complex<T>> {
  static void pack(Packer& p, const std::complex<T>& v) { pack_value(p, std::array<T, 2>{v.real(), v.imag()}); }
  static std::complex<T> unpack(const Object& o) {
    const auto parts = unpack_value<std::array<T, 2>>(o);
    return {parts[0], parts[1]};
  }
};
template <std::size_t N>
struct BuiltinCodec<std::bitset<N>> {
  static void pack(Packer& p, const std::bitset<N>& v) { pack_text(p, v.to_string()); }
  static std::bitset<N> unpack(const Object& o) {
    const auto text = unpack_string(o);
    if (text.size() != N) throw_mismatch("a bitset of the same length", o);
    return std::bitset<N>(std::string(text));
  }
};

}  // namespace detail
}  // namespace yoke

// So that a class with MSGPACK_DEFINE may hold what msgpack-c has no adaptor for: plain aggregates and types with a
// Codec; and so that what nests or collides within it is bounded as elsewhere.
namespace yoke::detail {
template <class T>
concept UnknownToMsgpack =
    std::is_class_v<T> && !requires(const T& t, msgpack::packer<PackBuffer>& p) { t.msgpack_pack(p); } &&
    !requires(T& t, const Object& o) { t.msgpack_unpack(o); } &&
    (OwnCodec<T> || (!HasBuiltinCodec<T> && PlainAggregate<T>));
template <class T>
concept Any = true;  // makes a specialisation go before msgpack-c's own

template <class T>
void unpack_unordered(const Object& object, T& into) {
  into.clear();
  if constexpr (requires { typename T::mapped_type; }) {
    if (object.type != msgpack::type::MAP) throw msgpack::type_error();
    UnorderedFilling<T> filling(into, object.via.map.size);
    for (const auto& [key, value] : std::span(object.via.map.ptr, object.via.map.size))
      filling.add(key.template as<typename T::key_type>(), value.template as<typename T::mapped_type>());
  } else {
    if (object.type != msgpack::type::ARRAY) throw msgpack::type_error();
    UnorderedFilling<T> filling(into, object.via.array.size);
    for (const auto& key : std::span(object.via.array.ptr, object.via.array.size))
      filling.add(key.template as<typename T::key_type>());
  }
}
}  // namespace yoke::detail
namespace msgpack {
MSGPACK_API_VERSION_NAMESPACE(MSGPACK_DEFAULT_API_NS) {
  namespace adaptor {
  template <class T>
    requires yoke::detail::UnknownToMsgpack<T>
  struct pack<T, void> {  // an adaptor for a template of the program's own goes before it
    msgpack::packer<yoke::PackBuffer>& operator()(msgpack::packer<yoke::PackBuffer>& packer, const T& value) const {
      yoke::pack_value(static_cast<yoke::Packer&>(packer), value);  // nobody else makes one for a PackBuffer
      return packer;
    }
  };
  template <class T>
    requires yoke::detail::UnknownToMsgpack<T>
  struct convert<T, void> {
    const msgpack::object& operator()(const msgpack::object& object, T& value) const {
      value = yoke::unpack_value<T>(object);
      return object;
    }
  };
  template <class T>
    requires yoke::detail::MsgpackDefined<T>
  struct pack<T, void> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& packer, const T& value) const {
      if constexpr (std::is_same_v<Stream, yoke::PackBuffer>) {
        const yoke::Packer::Level level(static_cast<yoke::Packer&>(packer), yoke::Packer::Level::Of::codec);
        value.msgpack_pack(packer);
      } else {
        value.msgpack_pack(packer);
      }
      return packer;
    }
  };
  template <class K, class H, class E, class A>
    requires yoke::detail::Any<K>
  struct convert<std::unordered_set<K, H, E, A>> {
    const msgpack::object& operator()(const msgpack::object& object, std::unordered_set<K, H, E, A>& value) const {
      yoke::detail::unpack_unordered(object, value);
      return object;
    }
  };
  template <class K, class H, class E, class A>
    requires yoke::detail::Any<K>
  struct convert<std::unordered_multiset<K, H, E, A>> {
    const msgpack::object& operator()(const msgpack::object& object, std::unordered_multiset<K, H, E, A>& value) const {
      yoke::detail::unpack_unordered(object, value);
      return object;
    }
  };
  template <class K, class V, class H, class E, class A>
    requires yoke::detail::Any<K>
  struct convert<std::unordered_map<K, V, H, E, A>> {
    const msgpack::object& operator()(const msgpack::object& object, std::unordered_map<K, V, H, E, A>& value) const {
      yoke::detail::unpack_unordered(object, value);
      return object;
    }
  };
  template <class K, class V, class H, class E, class A>
    requires yoke::detail::Any<K>
  struct convert<std::unordered_multimap<K, V, H, E, A>> {
    const msgpack::object& operator()(const msgpack::object& object,
                                      std::unordered_multimap<K, V, H, E, A>& value) const {
      yoke::detail::unpack_unordered(object, value);
      return object;
    }
  };
  }  // namespace adaptor
}
}  // namespace msgpack
