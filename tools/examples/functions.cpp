// What can be submitted: everything that is the same in the program and in its worker.
#include <cstdio>
#include <string>
#include <yoke/yoke.hpp>

int add(int a, int b) { return a + b; }

template <class T>
T twice(T value) {
  return value + value;
}

struct Counter {
  int step = 1;
  int after(int calls) const { return step * calls; }
};

struct Scale {  // a callable object: a plain aggregate, so it has a codec
  int factor = 1;
  int operator()(int value) const { return factor * value; }
};

int main() {
  yoke::ProcessPoolExecutor pool(2);
  int offset = 40;
  std::printf("function        %d\n", pool.submit(add, 1, 2).get());
  std::printf("template        %s\n", pool.submit(twice<std::string>, "ab").get().c_str());
  std::printf("lambda          %d\n", pool.submit([](int a, int b) { return a * b; }, 6, 7).get());
  std::printf("with captures   %d\n", pool.submit(yoke::by_value([offset](int v) { return v + offset; }), 2).get());
  std::printf("bound           %d\n", pool.submit(yoke::bind(add, 1), 2).get());
  std::printf("member function %d\n", pool.submit(&Counter::after, Counter{.step = 3}, 5).get());
  std::printf("object          %d\n", pool.submit(Scale{.factor = 10}, 4).get());
}
