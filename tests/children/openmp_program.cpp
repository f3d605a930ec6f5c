// OpenMP in a program and in its workers: threads that are there before, while and after workers run.
#include <omp.h>

#include <cstdio>
#include <vector>

#include "yoke/yoke.hpp"

namespace {

long sum_up_to(int last) {
  long sum = 0;
#pragma omp parallel for reduction(+ : sum) num_threads(4)
  for (int i = 1; i <= last; ++i) sum += i;
  return sum;
}

int most_threads() { return omp_get_max_threads(); }

}  // namespace

int main() {
  long here = sum_up_to(1000);
  yoke::ProcessPoolExecutor pool(2);
  std::vector<yoke::Future<long>> there;
  for (int i = 0; i < 20; ++i) there.push_back(pool.submit(sum_up_to, 1000));
  for (int i = 0; i < 20; ++i) here += sum_up_to(1000);
  long sum = 0;
  for (auto& future : there) sum += future.get();
  std::printf("here %ld, there %ld\n", here, sum);
  yoke::ProcessPoolExecutor with_three({.max_workers = 1, .inner_max_num_threads = 3});
  std::printf("threads of a worker: %d\n", with_three.submit(most_threads).get());
}
