// yoke hello: one task in a worker, and what it saw there.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <vector>
#include <yoke/yoke.hpp>

#include "commands.hpp"
#include "usage.hpp"

namespace yoke::tools {
namespace {

struct Sight {
  int pid;
  int parent;
  int rank;
  int depth;
};

Sight look_around() { return {::getpid(), ::getppid(), this_worker::rank(), this_worker::depth()}; }

using Microseconds = std::chrono::duration<double, std::micro>;

template <class F>
Microseconds time_of(F f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::steady_clock::now() - begin;
}

}  // namespace

int run_hello() {
  constexpr int trips = 1001;
  ProcessPoolExecutor pool(1);
  Sight sight{};
  const auto cold = time_of([&] { sight = pool.submit(look_around).get(); });
  std::vector<double> hot;
  for (int i = 0; i < trips; ++i) hot.push_back(time_of([&] { pool.submit(look_around).get(); }).count());
  std::nth_element(hot.begin(), hot.begin() + trips / 2, hot.end());

  fmt::print("program   pid {}, yoke {}, {} workers by default\n", ::getpid(), YOKE_VERSION, cpu_count());
  fmt::print("worker    pid {}, started by pid {}, rank {}, {} pool deep\n", sight.pid, sight.parent, sight.rank,
             sight.depth);
  fmt::print("function  look_around, in the program and in the worker the same\n");
  fmt::print("cold      {:.2f} ms from submit to the first result, the start of the worker included\n",
             cold.count() / 1000);
  fmt::print("hot       {:.2f} us a round trip, the median of {}\n", hot[trips / 2], trips);
  return exit_status::success;
}

}  // namespace yoke::tools
