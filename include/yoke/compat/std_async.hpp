// yoke::async in place of std::async: the same call, run in a worker process of the program's reusable pool.
//
//   std::future<int> f = std::async(std::launch::async, work, 1);     // before
//   std::future<int> f = yoke::async(std::launch::async, work, 1);    // after; or yoke::Future<int>
//
// What differs: a crash of `work` is an exception of the future; the launch policy is taken and changes nothing (a
// deferred task starts too, as soon as a worker is free); the future's destructor does not wait; a std::future's
// wait_for never says deferred. What a closure may capture: crossing.hpp. Errors: as submit().
#pragma once

#include "yoke/language.hpp"

#include <future>
#include <utility>

#include "yoke/crossing.hpp"
#include "yoke/reusable.hpp"

namespace yoke {

template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, std::launch>)
auto async(F&& f, Args&&... args) {
  return get_reusable_executor({.reuse = Reuse::always})
      .submit(detail::crossing(std::forward<F>(f)), std::forward<Args>(args)...);
}

template <class F, class... Args>
auto async(std::launch, F&& f, Args&&... args) {
  return async(std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace yoke
