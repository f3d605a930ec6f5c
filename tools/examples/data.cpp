// Three ways for a type to cross, and a parameter that is a view.
#include <cstdio>
#include <span>
#include <string>
#include <vector>
#include <yoke/yoke.hpp>

struct Point {  // a plain aggregate: nothing to do
  double x, y;
};

class Account {  // a class of yours: the macro, and a default constructor
  std::string owner_;

 public:
  explicit Account(std::string owner = {}) : owner_(std::move(owner)) {}
  const std::string& owner() const { return owner_; }
  MSGPACK_DEFINE(owner_)
};

struct Money {  // as if of another library: the codec stands beside it
  const long cents;
  explicit Money(long c) : cents(c) {}
};
template <>
struct yoke::Codec<Money> {
  static void pack(Packer& packer, const Money& money) { pack_value(packer, money.cents); }
  static Money unpack(const Object& object) { return Money(unpack_value<long>(object)); }
};

Point turned(const Point& p) { return {-p.y, p.x}; }
Account joined(const std::vector<Account>& two) { return Account(two.at(0).owner() + " & " + two.at(1).owner()); }
Money sum(std::span<const long> cents, const Money& start) { return Money(start.cents + cents[0] + cents[1]); }

int main() {
  yoke::ProcessPoolExecutor pool(1);
  std::printf("aggregate: %g\n", pool.submit(turned, Point{1, 2}).get().x);
  std::printf("macro: %s\n", pool.submit(joined, std::vector{Account("Ada"), Account("Grace")}).get().owner().c_str());
  std::printf("view and codec: %ld\n", pool.submit(sum, std::vector<long>{5, 6}, Money(100)).get().cents);
}
