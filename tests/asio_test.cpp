// G9: results of workers on the caller's io_context, by Asio's completion tokens.
#include <asio/awaitable.hpp>
#include <asio/bind_executor.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/use_future.hpp>
#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/pool_fixture.hpp"
#include "yoke/compat/asio.hpp"

namespace {

using namespace yoke_test;

using AsioFace = PoolTest;

std::string shout(const std::string& text) { return text + "!"; }
void refuse() { throw std::out_of_range("refused"); }

TEST_F(AsioFace, G9_a_handler_runs_on_its_io_context) {
  asio::io_context io;
  std::thread::id where;
  int result = 0;
  yoke::asio_submit(*pool,
                    asio::bind_executor(io,
                                        [&](std::exception_ptr error, int value) {
                                          EXPECT_FALSE(error);
                                          where = std::this_thread::get_id();
                                          result = value;
                                        }),
                    add_one, 1);
  io.run();  // is at work until then
  EXPECT_EQ(result, 2);
  EXPECT_EQ(where, std::this_thread::get_id());
}

#ifdef ASIO_HAS_CO_AWAIT  // not with clang 14
asio::awaitable<std::string> talk(yoke::ProcessPoolExecutor& pool) {
  const std::string loud = co_await yoke::asio_submit(pool, asio::use_awaitable, shout, "hello");
  co_await yoke::asio_submit(pool, asio::use_awaitable, [] {});
  try {
    co_await yoke::asio_submit(pool, asio::use_awaitable, refuse);
  } catch (const std::out_of_range& error) {
    co_return loud + " " + error.what();
  }
  co_return "nothing was thrown";
}

TEST_F(AsioFace, G9_coroutines_await_values_and_exceptions) {
  asio::io_context io;
  std::string said;
  asio::co_spawn(io, talk(*pool), [&](std::exception_ptr error, std::string text) {
    EXPECT_FALSE(error);
    said = std::move(text);
  });
  io.run();
  EXPECT_EQ(said, "hello! refused");
}
#endif

TEST_F(AsioFace, G9_as_a_future_and_of_a_worker_that_dies) {
  std::future<int> future = yoke::asio_submit(*pool, asio::use_future, add_one, 2);
  EXPECT_EQ(future.get(), 3);
  EXPECT_EQ(yoke::asio_submit(*pool, asio::use_future, shout, "hello").get(), "hello!");
  EXPECT_THROW(yoke::asio_submit(*pool, asio::use_future, refuse).get(), std::out_of_range);
  std::future<void> dead = yoke::asio_submit(*pool, asio::use_future, [] { kill_self(SIGKILL); });
  const auto error = thrown_by<yoke::TerminatedWorkerError>([&] { dead.get(); });
  EXPECT_EQ(error->death().signal, SIGKILL);
}

}  // namespace
