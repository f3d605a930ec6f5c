// A loop over shared memory: nothing is copied, and every worker writes its part.
#include <cmath>
#include <cstdio>
#include <numeric>
#include <stdexcept>
#include <yoke/yoke.hpp>

int main() {
  yoke::ProcessPoolExecutor pool(2);
  const yoke::SharedArray<double> roots(10'001);
  yoke::parallel_for(pool, std::size_t{0}, roots.size(),
                     [view = roots.view()](std::size_t i) { view[i] = std::sqrt(static_cast<double>(i)); });
  std::printf("the last root is %g, the sum %.1f\n", roots[10'000], std::accumulate(roots.begin(), roots.end(), 0.0));
  try {
    yoke::parallel_for(pool, 0, 100, [](int i) {
      if (i == 50) throw std::out_of_range("turn 50");
    });
  } catch (const std::out_of_range& error) {
    std::printf("%s failed\n", error.what());
  }
}
