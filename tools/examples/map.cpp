// A function over many values: results in order, and an exception costs one of them.
#include <cstdio>
#include <stdexcept>
#include <vector>
#include <yoke/yoke.hpp>

double reciprocal(int x) {
  if (x == 0) throw std::domain_error("one divided by zero");
  return 1.0 / x;
}

int main() {
  yoke::ProcessPoolExecutor pool;
  const std::vector<int> numbers{4, 2, 0, -2};
  auto results = pool.map(reciprocal, numbers);
  for (auto item = results.begin(); item != results.end(); ++item) try {
      std::printf("%g\n", *item);
    } catch (const std::domain_error& error) {
      std::printf("failed: %s\n", error.what());
    }
}
