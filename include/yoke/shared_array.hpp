// SharedArray<T>: memory that this process and its workers share. It crosses as a handle and is never copied.
//
//   yoke::SharedArray<double> samples(1'000'000);                     // all zero
//   executor.submit(scale, samples, 0, 1000).get();                   // void scale(SharedArray<double>, size_t,
//   size_t)
//   executor.submit(yoke::by_value([v = samples.view()](int i) { v[i] = i; }), 3).get();
//
// A handle is like a shared_ptr: copies refer to the same elements, which go with the last handle in any process, and
// stay whoever of the others dies. Its size never changes. Memory is allocated when the array is made, so that running
// out of it is a std::system_error (ENOMEM) there and no crash later.
//
// Threads and processes: handles are as thread-safe as shared_ptr; the elements are plain memory, so who writes what
// another reads at the same time needs std::atomic_ref or an order of tasks. A task's writes are seen by whoever has
// seen its result. A worker that dies in the middle of a write leaves what it has written.
// A handle holds a descriptor of this process; a task that waits or runs holds its arguments. Only workers whose tasks
// are given an array, or a view of it as an argument or a capture of by_value(), have it.
//
// Tasks on other machines (remote.hpp) read the array as it was when they were submitted, and cannot write to it.
#pragma once

#include "yoke/language.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "yoke/codec.hpp"
#include "yoke/export.hpp"

namespace yoke {

class SharedMemory;  // lib/wire/shared_memory.hpp

namespace detail {

/// By what a process that was given a piece of shared memory finds it, and what it must be found to be.
struct SharedPlace {
  std::uint64_t tree;  // of a program and its workers, and theirs: nobody else has memory of theirs
  std::uint64_t inode;
  std::uint64_t bytes;  // 0: no memory at all
  bool operator==(const SharedPlace&) const = default;
};

/// All zero. Null for 0 bytes. Throws std::system_error.
YOKE_API std::shared_ptr<SharedMemory> make_shared_memory(std::size_t count, std::size_t element_size);
YOKE_API std::byte* data_of(const SharedMemory& memory) noexcept;
YOKE_API SharedPlace place_of(const SharedMemory& memory) noexcept;
YOKE_API void pack_shared_memory(Packer& packer, const std::shared_ptr<SharedMemory>& memory);
enum class SharedKind {
  array,  // that all may write to, unless it came from another machine
  constant  // of a Broadcast
};
/// Throws SerializationError if it cannot be had, or is of the other kind.
YOKE_API std::shared_ptr<SharedMemory> unpack_shared_memory(const Object& object, SharedKind kind);
YOKE_API std::size_t count_of(const SharedMemory& memory, std::size_t element_size);
// Of Broadcast: constant memory of what was packed, and the value that it stands for.
using UnpackConstant = std::shared_ptr<const void> (*)(std::span<const std::byte> packed);

/// Memory that holds what was packed. Throws std::system_error, SerializationError.
YOKE_API std::shared_ptr<SharedMemory> make_constant(PackBuffer& packed, const std::shared_ptr<const void>& value,
                                                     const std::type_info& type);
/// The value in this process, unpacked if it is not there. Throws SerializationError, and what unpacking throws.
YOKE_API std::shared_ptr<const void> constant_in(SharedMemory& memory, const std::type_info& type,
                                                 UnpackConstant unpack);

/// Where the memory is in this process; throws Error if it is not held here and cannot be had.
YOKE_API std::byte* address_of(const SharedPlace& place);
/// What is packed of a view; the message holds its memory, if this process has it.
YOKE_API void pack_shared_place(Packer& packer, const SharedPlace& place);
YOKE_API SharedPlace unpack_shared_place(const Object& object);

/// What a thread has found: good until some shared memory goes from this process.
struct FoundPlace {
  SharedPlace place{};
  std::byte* data = nullptr;
  const std::atomic<std::uint64_t>* departures = nullptr;  // from this process, ever
  std::uint64_t departures_seen = 0;
};
YOKE_API void find_again(FoundPlace& found, const SharedPlace& place);
/// The same as address_of, for those who ask for each element.
inline std::byte* quick_address_of(const SharedPlace& place) {
  constexpr std::size_t views_in_a_loop = 8;
  static thread_local constinit FoundPlace all_found[views_in_a_loop]{};
  FoundPlace& found = all_found[place.inode % views_in_a_loop];
  if (!found.departures || found.departures->load(std::memory_order_acquire) != found.departures_seen ||
      found.place != place)
    find_again(found, place);
  return found.data;
}

}  // namespace detail

/// A SharedArray without a hold on its memory: plain bytes, for the captures of by_value(). Valid in any worker of this
/// process for as long as somebody here holds the array, as its task does; in the worker until the task ends.
template <class T>
struct SharedView {
  detail::SharedPlace place;  // not to be touched

  /// Looks the memory up. Throws Error if nobody holds the array any more.
  std::span<T> span() const { return {reinterpret_cast<T*>(detail::address_of(place)), size()}; }
  std::size_t size() const noexcept { return place.bytes / sizeof(T); }
  T& operator[](std::size_t i) const { return reinterpret_cast<T*>(detail::quick_address_of(place))[i]; }
};

template <class T>
struct Codec<SharedView<T>> {
  static void pack(Packer& packer, const SharedView<T>& view) { detail::pack_shared_place(packer, view.place); }
  static SharedView<T> unpack(const Object& object) { return {detail::unpack_shared_place(object)}; }
};

template <class T>
class SharedArray {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_const_v<T> && !std::is_pointer_v<T>,
                "yoke: the elements of a SharedArray are read by several processes: they must be trivially copyable "
                "values without pointers");

 public:
  using value_type = T;

  /// No elements.
  SharedArray() = default;
  /// `size` elements, all bytes zero. Throws std::system_error when there is no memory or no descriptor left.
  explicit SharedArray(std::size_t size) : memory_(detail::make_shared_memory(size, sizeof(T))) { find_elements(); }
  /// A copy of `values`.
  explicit SharedArray(std::span<const T> values) : SharedArray(values.size()) {
    detail::copy_without_padding(reinterpret_cast<std::byte*>(data_), values.data(), values.size());
  }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  // The elements are not const though the handle is, as with shared_ptr and span.
  T* data() const noexcept { return data_; }
  T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() const noexcept { return data_; }
  T* end() const noexcept { return data_ + size_; }
  std::span<T> span() const noexcept { return {data_, size_}; }

  /// A trivially copyable stand-in that holds nothing: see SharedView.
  SharedView<T> view() const noexcept { return {memory_ ? detail::place_of(*memory_) : detail::SharedPlace{}}; }

  /// Whether both are handles of the same elements.
  bool operator==(const SharedArray& other) const noexcept { return memory_ == other.memory_; }

 private:
  friend struct Codec<SharedArray>;
  explicit SharedArray(std::shared_ptr<SharedMemory> memory) : memory_(std::move(memory)) { find_elements(); }
  void find_elements() {
    if (!memory_) return;
    data_ = reinterpret_cast<T*>(detail::data_of(*memory_));
    size_ = detail::count_of(*memory_, sizeof(T));
  }

  std::shared_ptr<SharedMemory> memory_;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

template <class T>
struct Codec<SharedArray<T>> {
  static void pack(Packer& packer, const SharedArray<T>& array) { detail::pack_shared_memory(packer, array.memory_); }
  static SharedArray<T> unpack(const Object& object) {
    return SharedArray<T>(detail::unpack_shared_memory(object, detail::SharedKind::array));
  }
};

}  // namespace yoke
