// G-payload: one task's round trip against the bytes that it carries, by their type, as an argument and as a result.
#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "bench/curve.hpp"
#include "bench/peers/pipe_pool.hpp"
#include "bench/proc.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

struct Trip {
  const char* who;
  std::function<void()> run;
};

double microseconds(const Trip& trip, int count) {
  const Stopwatch watch;
  for (int i = 0; i < count; ++i) trip.run();
  return watch.seconds() * 1e6 / count;
}

PipePool::Message no_answer(std::span<const std::byte>) { return {}; }

void measure_size(Curve& curve, std::size_t size, int turns) {
  const std::vector<double> numbers(size / sizeof(double), 1.5);
  const std::string text(size, 'x');
  const SharedArray<double> shared{std::span<const double>(numbers)};
  std::string target(size, ' ');
  ProcessPoolExecutor executor(1);
  PipePool pipes(1);
  const std::vector<Trip> trips{
      {"argument std::vector<double>", [&] { executor.submit(ends_of_vector, numbers).get(); }},
      {"argument std::span<const double>", [&] { executor.submit(ends_of_span, numbers).get(); }},
      {"argument std::string", [&] { executor.submit(ends_of_string, text).get(); }},
      {"argument std::string_view", [&] { executor.submit(ends_of_view, text).get(); }},
      {"argument SharedArray<double>", [&] { executor.submit(ends_of_shared, shared).get(); }},
      {"result std::vector<double>", [&] { executor.submit(kept_vector, numbers.size()).get(); }},
      {"result std::string", [&] { executor.submit(kept_string, size).get(); }},
      {"result SharedArray<double>", [&] { executor.submit(kept_shared, numbers.size()).get(); }},
      {"fork and pipes, std::string",
       [&] {
         PipePool::Message message(size);
         std::memcpy(message.data(), text.data(), size);
         pipes.submit(no_answer, std::move(message)).get();
       }},
      {"memcpy",
       [&] {
         std::memcpy(target.data(), text.data(), size);
         asm volatile("" : : "r"(target.data()) : "memory");
       }},
  };
  const int count = static_cast<int>(std::clamp<std::size_t>((std::size_t{32} << 20) / size, 1, 2000));
  for (const Trip& trip : trips) {
    trip.run();  // memory is there, and what the worker keeps
    for (int turn = 0; turn < turns; ++turn)
      curve.add(trip.who, "us", static_cast<double>(size), microseconds(trip, count));
  }
}

Curve measure(const Effort& effort) {
  Curve curve{.id = "G-payload", .what = "one task after the other against its payload", .along = "bytes"};
  for (const double bytes : {8e0, 1e3, 32e3, 1e6, 32e6, 256e6, 1e9}) {
    if (effort.quick && bytes > 32e6) continue;
    if (available_bytes() < 10 * bytes) {
      curve.note = "more did not fit into this machine's memory";
      break;
    }
    measure_size(curve, static_cast<std::size_t>(bytes),
                 bytes > 100e6 ? std::min(effort.repetitions, 3) : effort.repetitions);
  }
  return curve;
}

}  // namespace

std::vector<MeasurementOf<Curve>> payload_curves() { return {{"G-payload", measure}}; }

}  // namespace yoke::bench
