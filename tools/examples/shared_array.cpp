// Four tasks write their parts of one array, and nothing is copied.
#include <cstdio>
#include <numeric>
#include <vector>
#include <yoke/yoke.hpp>

void write_squares(yoke::SharedArray<double> all, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i) all[i] = static_cast<double>(i) * static_cast<double>(i);
}

int main() {
  yoke::ProcessPoolExecutor pool;
  const yoke::SharedArray<double> squares(1'000'000);
  std::vector<yoke::Future<void>> parts;
  for (std::size_t i = 0; i < 4; ++i)
    parts.push_back(pool.submit(write_squares, squares, i * 250'000, (i + 1) * 250'000));
  for (auto& part : parts) part.get();
  std::printf("the sum of a million squares is %g\n", std::accumulate(squares.begin(), squares.end(), 0.0));
}
