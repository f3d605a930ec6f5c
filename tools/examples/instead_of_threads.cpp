// Code that was written for a thread pool and std::future goes on working: only `pool` is another.
#include <cstdio>
#include <future>
#include <vector>
#include <yoke/yoke.hpp>

int count_primes(int from, int to) {
  int primes = 0;
  for (int n = from; n < to; ++n) {
    bool prime = n > 1;
    for (int d = 2; prime && d * d <= n; ++d) prime = n % d != 0;
    primes += prime;
  }
  return primes;
}

int main() {
  yoke::ProcessPoolExecutor pool;  // was: a thread pool
  std::vector<std::future<int>> parts;
  for (int from = 0; from < 100000; from += 10000) parts.push_back(pool.submit(count_primes, from, from + 10000));
  int primes = 0;
  for (auto& part : parts) primes += part.get();
  std::printf("%d primes below 100000\n", primes);
}
