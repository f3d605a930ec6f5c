// Reducers: one executor's own way to send values of a type, as ExecutorOptions::job_reducers (arguments) and
// result_reducers (results). It takes the place of the type's codec, also inside containers and other classes, and no
// other executor knows of it.
//
//   yoke::ProcessPoolExecutor pool({.job_reducers = yoke::Reducers().add<Image>(
//       [](const Image& image) { return image.to_png(); }, [](const std::string& png) { return Image::from_png(png);
//       })});
//
// Where they do not reach: members of a class with MSGPACK_DEFINE, which msgpack packs itself; the arguments of an
// initializer; exceptions; elements of a std::span, which is a view (refused).
//
// A value type; equal if the same functions were added for the same types. The module that holds the functions must
// stay loaded.
#pragma once

#include "yoke/language.hpp"

#include <cstdint>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include "yoke/codec.hpp"
#include "yoke/custom_packing.hpp"
#include "yoke/export.hpp"

namespace yoke {
namespace detail {

/// A reducer without its types. One static object for each.
struct Reducer {
  const std::type_info* type;
  void (*pack)(Packer&, const void* value);
  ErasedFunction unpack;  // T (*)(const Object&)
  const Reducer* (*itself)();  // by this a worker finds its own
};

template <class T, class Pack, class Unpack>
struct ReducerOf {
  using Packing = CustomPacking<T, Pack, Unpack>;
  static void pack(Packer& packer, const void* value) { Packing::pack(packer, *static_cast<const T*>(value)); }
  static T unpack(const Object& object) { return Packing::unpack(object); }
  static const Reducer* itself() {
    static const Reducer reducer{&typeid(T), &pack, reinterpret_cast<ErasedFunction>(&unpack), &itself};
    return &reducer;
  }
};

}  // namespace detail

class YOKE_API Reducers {
 public:
  /// See custom_packing.hpp for the functions; pack_fn must not pack a T in its turn. Adding to a type again replaces.
  template <class T, class Pack, class Unpack>
  Reducers& add(Pack, Unpack) {
    static_assert(
        detail::reducible<T>,
        "yoke: a reducer is for a class of yours or of another library. Numbers, enums, strings and standard "
        "containers are always packed by yoke itself, which would otherwise have to ask for each of them: put "
        "one into a class of its own");
    add(detail::ReducerOf<T, Pack, Unpack>::itself());
    return *this;
  }
  bool empty() const noexcept { return entries_.empty(); }
  bool operator==(const Reducers& other) const;

  // For the library.
  struct Entry {
    const detail::Reducer* reducer;
    std::uint64_t id;  // by which both processes know it
  };
  const std::vector<Entry>& entries() const noexcept { return entries_; }
  const Entry* find(const std::type_info& type) const noexcept;
  void add(const detail::Reducer* reducer);

 private:
  std::vector<Entry> entries_;
};

/// For types that only the reducers of some executors can pack:
///
///   template <> struct yoke::Codec<Image> : yoke::ReducedOnly<Image> {};
///
/// Elsewhere packing one is a SerializationError.
template <class T>
struct ReducedOnly {
  static void pack(Packer&, const T&) { detail::throw_no_reducer(typeid(T)); }
  static T unpack(const Object&) { detail::throw_no_reducer(typeid(T)); }
};

}  // namespace yoke
