// What BS::thread_pool 5.1 has beside the pool, by its documented names: version, priorities, blocks, synced_stream and
// more.
//
// Nothing here needs a pool. Threads: a synced_stream may be used from any; all else are values.
#pragma once

#include "yoke/language.hpp"

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <optional>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "yoke/parallel_for.hpp"
#include "yoke/process.hpp"

#ifndef BS_THREAD_POOL_VERSION_MAJOR
#define BS_THREAD_POOL_VERSION_MAJOR 5  // whose methods these are
#define BS_THREAD_POOL_VERSION_MINOR 1
#define BS_THREAD_POOL_VERSION_PATCH 0
#endif
#undef major  // <sys/sysmacros.h> has macros of these names
#undef minor

namespace yoke::bs {

struct version {
  constexpr version(std::uint64_t major_, std::uint64_t minor_, std::uint64_t patch_) noexcept
      : major(major_), minor(minor_), patch(patch_) {}
  auto operator<=>(const version&) const = default;
  std::string to_string() const {
    return std::to_string(major) + '.' + std::to_string(minor) + '.' + std::to_string(patch);
  }
  friend std::ostream& operator<<(std::ostream& out, const version& v) { return out << v.to_string(); }

  std::uint64_t major, minor, patch;
};
inline constexpr version thread_pool_version(BS_THREAD_POOL_VERSION_MAJOR, BS_THREAD_POOL_VERSION_MINOR,
                                             BS_THREAD_POOL_VERSION_PATCH);
inline constexpr bool thread_pool_module = false;
inline constexpr bool thread_pool_import_std = false;
inline constexpr bool thread_pool_native_extensions = false;

using priority_t = std::int8_t;  // higher first
enum pr : priority_t { lowest = -128, low = -64, normal = 0, high = 64, highest = 127 };

/// The features that are chosen for a BS::thread_pool. A pool here has them all.
using opt_t = std::uint8_t;
enum tp : opt_t { none = 0, priority = 1, pause = 2, wait_deadlock_checks = 4 };

/// What a loop from a T1 to a T2 counts in: the larger of two signed, or two unsigned, types; else a signed type that
/// has the values of both, or, where there is none, the unsigned one.
template <class T1, class T2>
struct common_index_type {
  static_assert(std::is_integral_v<T1> && std::is_integral_v<T2>, "yoke: a loop runs over integers");
  template <class A, class B>
  using larger = std::conditional_t<(sizeof(A) >= sizeof(B)), A, B>;
  using Unsigned = std::conditional_t<std::is_unsigned_v<T1>, T1, T2>;
  using Signed = std::conditional_t<std::is_unsigned_v<T1>, T2, T1>;
  using Wider = std::conditional_t<sizeof(Unsigned) == 1, std::int16_t,
                                   std::conditional_t<sizeof(Unsigned) == 2, std::int32_t, std::int64_t>>;
  using Mixed = std::conditional_t<sizeof(Unsigned) == sizeof(std::uint64_t), Unsigned, larger<Wider, Signed>>;
  using type = std::conditional_t<std::is_signed_v<T1> == std::is_signed_v<T2>, larger<T1, T2>, Mixed>;
};
template <class T1, class T2>
using common_index_type_t = typename common_index_type<T1, T2>::type;

/// [first, index_after_last) in blocks whose sizes differ by one at most, none of them empty.
template <class T>
class blocks {
 public:
  blocks(T first, T index_after_last, std::size_t num_blocks) {
    detail::each_block<T>(first, index_after_last, num_blocks,
                          [&](T begin, T end) { bounds_.emplace_back(begin, end); });
  }
  std::size_t get_num_blocks() const noexcept { return bounds_.size(); }
  T start(std::size_t block) const { return bounds_.at(block).first; }
  T end(std::size_t block) const { return bounds_.at(block).second; }

 private:
  std::vector<std::pair<T, T>> bounds_;
};

/// Thrown by the waits of a wdc_thread_pool in a task that it runs.
struct wait_deadlock : std::runtime_error {
  wait_deadlock() : std::runtime_error("a task waits for the pool that runs it, which would wait for the task") {}
};

/// The thread that runs a task is the main thread of a worker.
struct this_thread {
  /// The rank of this worker; none in the program itself.
  static std::optional<std::size_t> get_index() noexcept {
    return this_worker::is_worker() ? std::optional(static_cast<std::size_t>(this_worker::rank())) : std::nullopt;
  }
  /// None: a worker has no pool, its parent has it.
  static std::optional<void*> get_pool() noexcept { return std::nullopt; }
};

/// Prints one text at a time, flushed: whole lines from threads, and, where stdout is a pipe or a terminal, from
/// workers, each of which has an object of its own.
class synced_stream {
 public:
  synced_stream() : synced_stream(std::cout) {}
  template <class... Streams>
  explicit synced_stream(std::ostream& first, Streams&... others) : streams_{&first, &others...} {}

  void add_stream(std::ostream& stream) {
    const std::lock_guard lock(mutex_);
    streams_.push_back(&stream);
  }
  void remove_stream(std::ostream& stream) {
    const std::lock_guard lock(mutex_);
    std::erase(streams_, &stream);
  }
  std::vector<std::ostream*>& get_streams() noexcept { return streams_; }

  template <class... Items>
  void print(const Items&... items) {
    std::ostringstream text;
    (text << ... << items);
    const std::lock_guard lock(mutex_);
    for (std::ostream* stream : streams_) *stream << text.str() << std::flush;
  }
  template <class... Items>
  void println(const Items&... items) {
    print(items..., '\n');
  }
  static constexpr std::ostream& (&endl)(std::ostream&) = std::endl<char, std::char_traits<char>>;
  static constexpr std::ostream& (&flush)(std::ostream&) = std::flush<char, std::char_traits<char>>;

 private:
  std::mutex mutex_;
  std::vector<std::ostream*> streams_;
};

}  // namespace yoke::bs
