// broadcast(value): a large constant that many tasks take. It is packed once, sent to each other machine once, and
// unpacked once by each worker, however many tasks name it.
//
//   const auto model = yoke::broadcast(load_model("weights.bin"));
//   auto scores = executor.map(yoke::bind(score, model), samples);   // double score(const Model&, const Sample&)
//
// The function's parameter is the value's type, best by reference to const, or a Broadcast. A handle is like a
// shared_ptr<const T>: thread-safe, and the value goes with the last one; workers forget it a second or two later, or
// when they are replaced. Needs a codec of the type, like any argument. It may not hold a SharedArray.
#pragma once

#include "yoke/language.hpp"

#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "yoke/call.hpp"
#include "yoke/codec.hpp"
#include "yoke/pack_buffer.hpp"
#include "yoke/shared_array.hpp"
#include "yoke/wrap.hpp"

namespace yoke {

template <class T>
class Broadcast {
  static_assert(!std::is_const_v<T> && !std::is_reference_v<T> && !detail::is_view<T>,
                "yoke: a broadcast value is kept by workers: it cannot be a view or a reference");

 public:
  using value_type = T;

  /// Throws SerializationError if it cannot be packed, std::system_error when there is no memory or no descriptor left.
  explicit Broadcast(T value) {
    value_ = std::make_shared<const T>(std::move(value));
    PackBuffer packed;
    try {
      Packer packer(packed);
      pack_value<T>(packer, *value_);
    } catch (...) {
      detail::throw_serialization_error("a broadcast value", "packed");
    }
    memory_ = detail::make_constant(packed, value_, typeid(T));
  }

  const T& get() const noexcept { return *value_; }
  const T& operator*() const noexcept { return *value_; }
  const T* operator->() const noexcept { return value_.get(); }
  operator const T&() const noexcept { return *value_; }

 private:
  friend struct Codec<Broadcast>;
  explicit Broadcast(std::shared_ptr<SharedMemory> memory) : memory_(std::move(memory)) {
    value_ = std::static_pointer_cast<const T>(
        detail::constant_in(*memory_, typeid(T), [](std::span<const std::byte> packed) {
          return std::shared_ptr<const void>(std::make_shared<const T>(unpack_value<T>(Message(packed).object())));
        }));
  }

  std::shared_ptr<SharedMemory> memory_;  // all that tasks hold
  std::shared_ptr<const T> value_;
};

template <class T>
struct Codec<Broadcast<T>> {
  static void pack(Packer& packer, const Broadcast<T>& value) { detail::pack_shared_memory(packer, value.memory_); }
  static Broadcast<T> unpack(const Object& object) {
    auto memory = detail::unpack_shared_memory(object, detail::SharedKind::constant);
    if (!memory) detail::throw_mismatch("a broadcast value", object);
    return Broadcast<T>(std::move(memory));
  }
};

/// Copies `value`, or moves it.
template <class T>
auto broadcast(T&& value) {
  using Value = std::conditional_t<std::is_convertible_v<T, const char*>, std::string, std::remove_cvref_t<T>>;
  return Broadcast<Value>(std::forward<T>(value));
}

namespace detail {
template <class T>
inline constexpr bool is_wrapped<Broadcast<T>> = true;
}  // namespace detail

}  // namespace yoke
