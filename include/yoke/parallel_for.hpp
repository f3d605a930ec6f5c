// parallel_for: the turns of a loop, in worker processes.
//
//   yoke::SharedArray<double> values(1'000'000);
//   yoke::parallel_for(pool, std::size_t{0}, values.size(), [view = values.view()](std::size_t i) { view[i] *= 2; });
//
// A worker cannot write to the caller's variables: the body is a lambda whose captures are plain values, views of
// SharedArrays above all (crossing.hpp). Returns when all blocks are done, and then throws what the first of them, in
// the order of indices, threw: the body's exception, or TerminatedWorkerError where a worker died. The turns of such a
// block behind that one are not run; all other blocks are.
#pragma once

#include "yoke/language.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "yoke/crossing.hpp"
#include "yoke/executor.hpp"

namespace yoke {

struct ParallelForOptions {
  std::size_t blocks = 0;  // tasks; 0: four a worker, so that slow ones are made up for
  TaskOptions task{};  // for each block: time limit, retries (only for a body that may run twice), name, priority
};

namespace detail {

/// In what a loop from a T1 to a T2 counts: a type that has the values of both. There is none for a signed and a 64-bit
/// unsigned one: then it is the unsigned one, since the end is a size.
template <class T1, class T2>
using LoopIndex = std::conditional_t<
    std::is_signed_v<T1> == std::is_signed_v<T2>, std::common_type_t<T1, T2>,
    std::conditional_t<sizeof(std::conditional_t<std::is_signed_v<T1>, T2, T1>) == sizeof(std::uint64_t),
                       std::conditional_t<std::is_signed_v<T1>, T2, T1>, std::int64_t>>;

[[noreturn]] YOKE_API void throw_loop_from(std::int64_t first);

/// Both bounds in that type. Throws std::invalid_argument if the first is negative and the type has no such value.
template <class T1, class T2>
auto loop_bounds(T1 first, T2 last) {
  static_assert(std::is_integral_v<T1> && std::is_integral_v<T2>, "yoke: a loop runs over integers");
  using T = LoopIndex<T1, T2>;
  if constexpr (std::is_unsigned_v<T> && std::is_signed_v<T1>)
    if (first < 0) throw_loop_from(first);
  if constexpr (std::is_unsigned_v<T> && std::is_signed_v<T2>)
    if (last < 0) return std::pair<T, T>(first, first);
  return std::pair<T, T>(static_cast<T>(first), static_cast<T>(last));
}

/// Calls each(begin, end) for `blocks` blocks of [first, last), none empty, whose sizes differ by one at most.
template <class T, class Each>
void each_block(T first, T last, std::size_t blocks, const Each& each) {
  using U = std::make_unsigned_t<T>;  // the difference of two T may be no T
  if (!(first < last)) return;
  const std::size_t all = static_cast<U>(static_cast<U>(last) - static_cast<U>(first));
  blocks = std::clamp<std::size_t>(blocks, 1, all);
  const auto begin_of = [&](std::size_t n) {
    return static_cast<T>(
        static_cast<U>(static_cast<U>(first) + static_cast<U>(all / blocks * n + std::min(n, all % blocks))));
  };
  for (std::size_t n = 0; n < blocks; ++n) each(begin_of(n), begin_of(n + 1));
}

/// A task of one block: a call of the body for each index.
template <class T, class F>
auto loop_over(F&& body) {
  using C = std::remove_cvref_t<F>;
  static_assert(
      std::is_class_v<C> && std::is_trivially_copyable_v<C>,
      "yoke: a loop's body is a lambda whose captures are plain values, such as a view of a yoke::SharedArray: a "
      "worker cannot see the caller's variables");
  return crossing([body = C(std::forward<F>(body))](T begin, T end) {
    for (T i = begin; i != end; ++i) body(i);
  });
}

}  // namespace detail

/// `pool`: anything with submit() and max_workers(). Any thread; not inside a worker's task of the same pool.
template <class Pool, class T1, class T2, class F>
void parallel_for(Pool& pool, T1 first, T2 last, F&& body, const ParallelForOptions& options = {}) {
  using T = detail::LoopIndex<T1, T2>;
  const auto [from, to] = detail::loop_bounds(first, last);
  const auto loop = detail::loop_over<T>(std::forward<F>(body));
  const std::size_t blocks = options.blocks != 0 ? options.blocks : 4 * static_cast<std::size_t>(pool.max_workers());
  std::vector<Future<void>> futures;
  const auto wait_for_all = [&] {  // nothing writes to the arrays any more
    for (const auto& future : futures) future.wait();
  };
  try {
    detail::each_block<T>(from, to, blocks,
                          [&](T begin, T end) { futures.push_back(pool.submit(options.task, loop, begin, end)); });
  } catch (...) {
    wait_for_all();
    throw;
  }
  wait_for_all();
  for (auto& future : futures) future.get();
}

}  // namespace yoke
