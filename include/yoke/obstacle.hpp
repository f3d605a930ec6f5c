// What the compiler says of a type whose values cannot cross to a worker: one sentence, by what kind of type it is,
// before any error of the library's inside.
#pragma once

#include "yoke/language.hpp"

#include <cstdio>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <type_traits>

namespace yoke::detail {

/// Why a type has no codec.
enum class Obstacle {
  text_pointer,  // const char*
  function_pointer,  // of members too
  file,  // FILE*
  pointer,
  iterator,
  lock,  // mutexes, condition variables, semaphores, barriers
  atomic,
  stream,
  thread,
  future,  // and promises
  error,  // std::exception_ptr
  list,  // std::initializer_list
  executor,
  callable,
  no_codec  // a class, or union, of which nothing more is known
};

template <class T>
concept Lock = !std::is_copy_constructible_v<T> && (requires(T& t) { t.lock(), t.unlock(); } ||
                                                    requires(T& t) { t.notify_all(); } ||
                                                    requires(T& t) { t.acquire(), t.release(); } ||
                                                    requires(T& t) { t.arrive_and_wait(); });
template <class T>
concept Atomic = requires(const T& t) { T::is_always_lock_free, t.load(); };
template <class T>
concept Stream = requires(T& t) {
  typename T::traits_type;
  t.rdbuf(), t.good();
};
template <class T>
concept Thread = requires(T& t) { t.joinable(), t.join(); };
template <class T>
concept FutureOrPromise = requires(T& t) { t.wait(), t.valid(); } || requires(T& t) { t.get_future(); };
template <class T>
concept ExecutorLike = requires(T& t) { t.max_workers(), t.pool(); };
template <class T>
concept CallableObject = requires { &T::operator(); } || requires(T& t) { t.target_type(); };
template <class T>
inline constexpr bool is_initializer_list = false;
template <class T>
inline constexpr bool is_initializer_list<std::initializer_list<T>> = true;

/// Of a T without a codec.
template <class T>
constexpr Obstacle obstacle_of() {
  if constexpr (std::is_pointer_v<T>) {
    using To = std::remove_cv_t<std::remove_pointer_t<T>>;
    if constexpr (std::is_function_v<To>)
      return Obstacle::function_pointer;
    else if constexpr (std::is_same_v<To, char> || std::is_same_v<To, wchar_t>)
      return Obstacle::text_pointer;
    else
      return std::is_same_v<To, std::FILE> ? Obstacle::file : Obstacle::pointer;
  } else if constexpr (std::is_member_pointer_v<T>) {
    return Obstacle::function_pointer;
  } else if constexpr (!std::is_class_v<T>) {
    return std::is_null_pointer_v<T> ? Obstacle::pointer : Obstacle::no_codec;
  } else if constexpr (Atomic<T>) {
    return Obstacle::atomic;
  } else if constexpr (Lock<T>) {
    return Obstacle::lock;
  } else if constexpr (Stream<T>) {
    return Obstacle::stream;
  } else if constexpr (Thread<T>) {
    return Obstacle::thread;
  } else if constexpr (FutureOrPromise<T>) {
    return Obstacle::future;
  } else if constexpr (std::is_same_v<T, std::exception_ptr>) {
    return Obstacle::error;
  } else if constexpr (is_initializer_list<T>) {
    return Obstacle::list;
  } else if constexpr (ExecutorLike<T>) {
    return Obstacle::executor;
  } else if constexpr (CallableObject<T>) {
    return Obstacle::callable;
  } else {
    return std::input_or_output_iterator<T> ? Obstacle::iterator : Obstacle::no_codec;
  }
}

/// Does not compile, and says why.
template <class T, Obstacle obstacle>
struct CheckedType {
  static_assert(
      obstacle != Obstacle::text_pointer,
      "yoke: a pointer to characters cannot cross to a worker, where that address means nothing. Take and return a "
      "std::string: literals convert to it");
  static_assert(obstacle != Obstacle::function_pointer,
                "yoke: a pointer to a function or member cannot be an argument or a result: it is an address of one "
                "process. Submit "
                "the function itself, as the callable of a task, or pass a value that says which one is meant");
  static_assert(obstacle != Obstacle::file,
                "yoke: a FILE* cannot cross to a worker: an open file belongs to one process. Pass its path, and open "
                "it in the task");
  static_assert(obstacle != Obstacle::pointer,
                "yoke: a pointer cannot cross to a worker: it is an address in the caller's memory, which no other "
                "process sees. Pass "
                "the value itself; for an array a std::vector (a std::span<const T> may take it), for memory that the "
                "task writes to a "
                "yoke::SharedArray, for an owned object a std::unique_ptr or std::shared_ptr, which are copied");
  static_assert(obstacle != Obstacle::iterator,
                "yoke: an iterator cannot cross to a worker: it points into the caller's memory. Pass or return the "
                "elements, in a "
                "container, or an index");
  static_assert(
      obstacle != Obstacle::lock,
      "yoke: a mutex, condition variable, semaphore or barrier cannot cross to a worker: it is for threads of one "
      "process. "
      "Tasks share nothing that it would guard: return what a task works out, and combine the results in the caller");
  static_assert(obstacle != Obstacle::atomic,
                "yoke: a std::atomic cannot cross to a worker, which would count in a copy of its own. Return what the "
                "task works out, "
                "or let tasks use std::atomic_ref on the elements of a yoke::SharedArray");
  static_assert(obstacle != Obstacle::stream,
                "yoke: a stream cannot cross to a worker: an open file or buffer belongs to one process. Pass a path "
                "and open it in the "
                "task, or pass and return the text as std::string");
  static_assert(obstacle != Obstacle::thread,
                "yoke: a thread cannot cross to a worker: it belongs to one process. Let the task start its own");
  static_assert(obstacle != Obstacle::future,
                "yoke: a future or promise cannot cross to a worker: its other end is in this process. Pass the value "
                "(future.get()); a "
                "task's own result comes back through the future that submit() returns");
  static_assert(obstacle != Obstacle::error,
                "yoke: a std::exception_ptr cannot cross to a worker. Let the task throw: get() throws it in the "
                "caller; or pass the "
                "text of what()");
  static_assert(obstacle != Obstacle::list,
                "yoke: a std::initializer_list is a view of the caller's memory: take a std::vector");
  static_assert(obstacle != Obstacle::executor,
                "yoke: an executor cannot cross to a worker: its workers are this process's. A task calls "
                "yoke::get_reusable_executor(), or makes an executor of its own");
  static_assert(obstacle != Obstacle::callable,
                "yoke: a function object cannot be an argument or a result: its code may be anywhere in this process. "
                "Submit it itself, "
                "as the callable of a task, or pass a value that says what is to be done");
  static_assert(
      obstacle != Obstacle::no_codec,
      "yoke: this type cannot cross to a worker: it has no codec. Give the class MSGPACK_DEFINE(members...), "
      "make it a plain aggregate (up to 20 members, none in a base class), specialise yoke::Codec for it, or pass it "
      "in yoke::wrap_non_serializable()");
};

}  // namespace yoke::detail
