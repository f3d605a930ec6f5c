// yoke::asio_submit: a task in a worker process, its result on the caller's io_context, in the manner of Asio.
//
//   int n = co_await yoke::asio_submit(pool, asio::use_awaitable, count_words, text);
//   yoke::asio_submit(pool, asio::bind_executor(io, [](std::exception_ptr error, int n) { … }), count_words, text);
//   std::future<int> f = yoke::asio_submit(pool, asio::use_future, count_words, text);
//
// The completion signature is void(std::exception_ptr, R), or void(std::exception_ptr) where the task returns nothing;
// R must have a default value, which comes with an error. The handler runs by its own executor, which is kept at work
// until then, so an io_context must outlive the task; where it has none, on yoke's callback thread, as of
// add_done_callback(). A cancellation slot of the token is not looked at. Errors: what submit() throws, asio_submit
// throws. Needs standalone Asio.
#pragma once

#include "yoke/language.hpp"

#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/dispatch.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/system_executor.hpp>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "yoke/crossing.hpp"
#include "yoke/executor.hpp"

namespace yoke {
namespace detail {

template <class R>
struct AsioSignature {
  using type = void(std::exception_ptr, R);
};
template <>
struct AsioSignature<void> {
  using type = void(std::exception_ptr);
};

/// Hands the outcome of a future over to a handler, by the handler's executor.
template <class R, class Handler>
void complete_by(const Future<R>& future, Handler handler) {
  auto work = ::asio::make_work_guard(handler);
  auto shared = std::make_shared<std::pair<Handler, decltype(work)>>(std::move(handler), std::move(work));
  const auto hand_over = [shared](Future<R> done) {
    const auto executor = shared->second.get_executor();
    ::asio::dispatch(executor, [shared, done = std::move(done)]() mutable {
      shared->second.reset();
      if constexpr (std::is_void_v<R>) {
        std::exception_ptr error;
        try {
          done.get();
        } catch (...) {
          error = std::current_exception();
        }
        std::move(shared->first)(error);
      } else {
        static_assert(std::is_default_constructible_v<R>,
                      "yoke: a handler gets an error and a value: the task's result type needs a default value");
        std::exception_ptr error;
        R value{};
        try {
          value = done.get();
        } catch (...) {
          error = std::current_exception();
        }
        std::move(shared->first)(error, std::move(value));
      }
    });
  };
  if constexpr (std::is_same_v<std::remove_cvref_t<decltype(work.get_executor())>, ::asio::system_executor>)
    future.add_done_callback(hand_over);  // it runs the handler at once
  else
    hand_over_when_done(future.task(), [hand_over, future] { hand_over(future); });
}

}  // namespace detail

/// Submits f(args...) to the pool, anything with submit().
template <class Pool, class Token, class F, class... Args>
auto asio_submit(Pool& pool, Token&& token, F&& f, Args&&... args) {
  auto future = pool.submit(detail::crossing(std::forward<F>(f)), std::forward<Args>(args)...);
  using R = decltype(future.get());
  return ::asio::async_initiate<Token, typename detail::AsioSignature<R>::type>(
      [](auto&& handler, Future<R> submitted) {
        detail::complete_by(submitted, std::forward<decltype(handler)>(handler));
      },
      token, std::move(future));
}

}  // namespace yoke
