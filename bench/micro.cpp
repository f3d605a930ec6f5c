// yoke-micro: the parts of a task's way, each alone, under Google Benchmark: packing, unpacking, the in-process pool.
#include <benchmark/benchmark.h>

#include <string>
#include <tuple>
#include <vector>

#include "yoke/yoke.hpp"

namespace {

using Small = std::tuple<int, double, std::string>;

template <class T>
void pack(benchmark::State& state, const T& value) {
  for (auto _ : state) {
    yoke::PackBuffer buffer;
    yoke::Packer packer(buffer);
    yoke::pack_value(packer, value);
    benchmark::DoNotOptimize(buffer.data());
  }
}

template <class T>
void unpack(benchmark::State& state, const T& value) {
  yoke::PackBuffer buffer;
  yoke::Packer packer(buffer);
  yoke::pack_value(packer, value);
  for (auto _ : state) {
    const yoke::Message message(buffer.view());
    benchmark::DoNotOptimize(yoke::unpack_value<T>(message.object()));
  }
}

void pack_small(benchmark::State& state) { pack(state, Small(1, 2.5, "three")); }
BENCHMARK(pack_small);
void unpack_small(benchmark::State& state) { unpack(state, Small(1, 2.5, "three")); }
BENCHMARK(unpack_small);
void pack_doubles(benchmark::State& state) { pack(state, std::vector<double>(1000, 1.5)); }
BENCHMARK(pack_doubles);
void unpack_doubles(benchmark::State& state) { unpack(state, std::vector<double>(1000, 1.5)); }
BENCHMARK(unpack_doubles);
void pack_strings(benchmark::State& state) { pack(state, std::vector<std::string>(100, "a string of some length")); }
BENCHMARK(pack_strings);
void unpack_strings(benchmark::State& state) {
  unpack(state, std::vector<std::string>(100, "a string of some length"));
}
BENCHMARK(unpack_strings);

void bytes_to_and_fro(benchmark::State& state) {
  const std::vector<std::byte> content(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    yoke::Bytes bytes{std::span<const std::byte>(content)};
    benchmark::DoNotOptimize(bytes.view().data());
  }
}
BENCHMARK(bytes_to_and_fro)->Arg(8)->Arg(40)->Arg(41)->Arg(4096);

int inc(int value) { return value + 1; }

void round_trip_in_process(benchmark::State& state) {
  yoke::Executor executor(yoke::make_in_process_pool());
  for (auto _ : state) benchmark::DoNotOptimize(executor.submit(inc, 1).get());
  executor.shutdown();
}
BENCHMARK(round_trip_in_process)->UseRealTime();

void round_trip_hot(benchmark::State& state) {
  yoke::ProcessPoolExecutor executor(1);
  executor.submit(inc, 1).get();
  for (auto _ : state) benchmark::DoNotOptimize(executor.submit(inc, 1).get());
}
BENCHMARK(round_trip_hot)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
