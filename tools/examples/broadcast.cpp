// A large constant that every task reads: packed once, unpacked once by each worker, sent to each other machine once.
#include <cstdio>
#include <map>
#include <numeric>
#include <string>
#include <vector>
#include <yoke/yoke.hpp>

struct Prices {
  std::map<std::string, double> of;
};

double cost(const Prices& prices, const std::vector<std::string>& basket) {
  double sum = 0;
  for (const auto& item : basket) sum += prices.of.at(item);
  return sum;
}

int main() {
  yoke::ProcessPoolExecutor pool(2);
  const auto prices = yoke::broadcast(Prices{{{"bread", 4.5}, {"milk", 1.25}, {"salt", 0.75}}});
  const std::vector<std::vector<std::string>> baskets(1000, {"bread", "milk", "milk"});
  const std::vector<double> costs = pool.map(yoke::bind(cost, prices), baskets).get();
  std::printf("a thousand baskets cost %g, one salt %g\n", std::accumulate(costs.begin(), costs.end(), 0.0),
              pool.submit(cost, prices, std::vector<std::string>{"salt"}).get());
}
