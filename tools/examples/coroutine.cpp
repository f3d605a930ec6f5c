// A coroutine that awaits tasks, and as_completed for many futures.
#include <coroutine>
#include <cstdio>
#include <exception>
#include <future>
#include <vector>
#include <yoke/yoke.hpp>

struct Detached {  // the least that a coroutine's type must have: it starts at once, and nobody waits for it
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

int square(int n) { return n * n; }

Detached square_twice(yoke::ProcessPoolExecutor& pool, int n, std::promise<int>& result) {
  const int once = co_await pool.submit(square, n);
  result.set_value(co_await pool.submit(square, once));  // goes on in the callback thread
}

int main() {
  yoke::ProcessPoolExecutor pool(2);
  std::promise<int> result;
  square_twice(pool, 3, result);
  std::printf("3 to the fourth is %d\n", result.get_future().get());

  std::vector<yoke::Future<int>> futures;
  for (int n = 1; n <= 100; ++n) futures.push_back(pool.submit(square, n));
  int sum = 0;
  for (auto future : yoke::as_completed(futures)) sum += future.get();
  std::printf("the sum of 100 squares is %d\n", sum);
}
