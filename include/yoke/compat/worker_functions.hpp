// WorkerFunctions: what every worker of a face's pool runs when it starts, and when it ends by itself; each may take
// its index.
//
// Made into the pool's one Initializer. The functions lie in the program, or in one shared library, and cross by their
// distance from a place in it.
#pragma once

#include "yoke/language.hpp"

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "yoke/crossing.hpp"
#include "yoke/initializer.hpp"
#include "yoke/process.hpp"
#include "yoke/task_type.hpp"

namespace yoke::compat {

/// A function that takes nothing, or the worker's index.
struct WorkerFunction {
  std::int64_t code = 0;  // of a Runner, as a distance; 0: there is nothing to run
  std::string captures;
};

// Hidden: each module has its own, so that all distances are within it.
namespace in_module __attribute__((visibility("hidden"))) {

  using Runner = void (*)(const std::string& captures, std::size_t index);
  inline char place_in_module = 0;

  template <class F>
  std::int64_t distance_to(F * function) {
    Dl_info mine{}, its{};
    ::dladdr(&place_in_module, &mine);
    ::dladdr(reinterpret_cast<const void*>(function), &its);
    if (mine.dli_fbase != its.dli_fbase)
      throw std::invalid_argument(
          "a worker's function lies in another shared library than the pool: give a lambda that calls it");
    return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(function) -
                                     reinterpret_cast<std::uintptr_t>(&place_in_module));
  }
  template <class F>
  F* function_at(std::int64_t distance) {
    return reinterpret_cast<F*>(reinterpret_cast<std::uintptr_t>(&place_in_module) +
                                static_cast<std::uintptr_t>(distance));
  }

  template <class F>
  void call_with_index(const F& function, std::size_t index) {
    if constexpr (std::is_invocable_v<const F&, std::size_t>)
      function(index);
    else
      function();
  }
  template <class F>
  void run_closure(const std::string& captures, std::size_t index) {
    alignas(F) std::byte object[sizeof(F)];
    std::memcpy(object, captures.data(), sizeof(F));
    call_with_index(*std::launder(reinterpret_cast<const F*>(object)), index);
  }
  template <class F>
  void run_function(const std::string& captures, std::size_t index) {
    std::int64_t distance = 0;
    std::memcpy(&distance, captures.data(), sizeof distance);
    call_with_index(function_at<F>(distance), index);
  }

  /// Throws SerializationError for captured pointers, as submit.
  template <class F>
  WorkerFunction worker_function(const F& function) {
    static_assert(std::is_invocable_v<const F&> || std::is_invocable_v<const F&, std::size_t>,
                  "yoke: what a worker runs at its start or end takes nothing, or its index as a std::size_t");
    if constexpr (std::is_pointer_v<F>) {
      const std::int64_t distance = distance_to(function);
      return {distance_to(&run_function<std::remove_pointer_t<F>>),
              std::string(reinterpret_cast<const char*>(&distance), sizeof distance)};
    } else {
      static_assert(
          std::is_trivially_copyable_v<F>,
          "yoke: what a worker runs at its start or end is a function, or a lambda whose captures are plain values");
      static_cast<void>(detail::crossing(function));
      return {distance_to(&run_closure<F>), std::string(reinterpret_cast<const char*>(&function), sizeof function)};
    }
  }

  inline void run_worker_function(const WorkerFunction& function) {
    if (function.code != 0)
      function_at<std::remove_pointer_t<Runner>>(function.code)(function.captures,
                                                                static_cast<std::size_t>(this_worker::rank()));
  }

  /// In the worker, before its first task. A worker that leaves runs what was registered for its exit; one that is
  /// killed does not.
  inline void begin_worker(const WorkerFunction& at_start, const WorkerFunction& at_end) {
    run_worker_function(at_start);
    static WorkerFunction last;
    last = at_end;
    if (last.code != 0) std::atexit([] { run_worker_function(last); });
  }

  inline Initializer worker_initializer(const WorkerFunction& at_start, const WorkerFunction& at_end) {
    if (at_start.code == 0 && at_end.code == 0) return {};
    return initializer(&begin_worker, at_start, at_end);
  }

}  // namespace in_module

}  // namespace yoke::compat
