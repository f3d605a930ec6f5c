// B-*: what a byte costs that crosses, as an argument and as a result, by its type: 100 MB in one task. The worker's
// function looks at the ends of an argument, and returns what it has had from the first time on.
#include <cstring>
#include <string>

#include "bench/row.hpp"
#include "bench/work.hpp"
#include "yoke/yoke.hpp"

namespace yoke::bench {
namespace {

constexpr std::size_t payload = 100'000'000;

/// `trip` is one task, to its result.
template <class Trip>
Row measure(const char* id, const char* what, const Effort& effort, const Trip& trip) {
  Row row{.id = id, .what = what, .unit = "ns/byte", .better = Better::lower, .peers = {{"memcpy", {}}}};
  const std::vector<std::byte> source(payload, std::byte(1));
  std::vector<std::byte> target(payload);
  ProcessPoolExecutor executor(1);
  trip(executor);
  for (int turn = 0; turn < effort.repetitions; ++turn) {
    const Stopwatch watch;
    trip(executor);
    row.ours.samples.push_back(watch.seconds() * 1e9 / payload);
    const Stopwatch copy_watch;
    std::memcpy(target.data(), source.data(), payload);
    asm volatile("" : : "r"(target.data()) : "memory");
    row.peers[0].samples.push_back(copy_watch.seconds() * 1e9 / payload);
  }
  return row;
}

template <auto function, class Argument>
Row measure_argument(const char* id, const char* what, const Argument& argument, const Effort& effort) {
  return measure(id, what, effort, [&](auto& executor) { executor.submit(function, argument).get(); });
}
template <auto function>
Row measure_result(const char* id, const char* what, std::size_t size, const Effort& effort) {
  return measure(id, what, effort, [&](auto& executor) { executor.submit(function, size).get(); });
}

std::vector<double> numbers() { return std::vector<double>(payload / sizeof(double), 1.5); }
std::string text() { return std::string(payload, 'x'); }

}  // namespace

std::vector<Measurement> cost_per_byte_rows() {
  return {
      {"B-vector",
       [](const Effort& effort) {
         return measure_argument<ends_of_vector>("B-vector", "argument: std::vector<double>", numbers(), effort);
       }},
      {"B-span",
       [](const Effort& effort) {
         return measure_argument<ends_of_span>("B-span", "argument: std::span<const double>", numbers(), effort);
       }},
      {"B-string",
       [](const Effort& effort) {
         return measure_argument<ends_of_string>("B-string", "argument: std::string", text(), effort);
       }},
      {"B-view",
       [](const Effort& effort) {
         return measure_argument<ends_of_view>("B-view", "argument: std::string_view", text(), effort);
       }},
      {"B-shared",
       [](const Effort& effort) {
         return measure_argument<ends_of_shared>("B-shared", "argument: SharedArray<double>",
                                                 SharedArray<double>(payload / sizeof(double)), effort);
       }},
      {"B-vector-r",
       [](const Effort& effort) {
         return measure_result<kept_vector>("B-vector-r", "result: std::vector<double>", payload / sizeof(double),
                                            effort);
       }},
      {"B-string-r",
       [](const Effort& effort) {
         return measure_result<kept_string>("B-string-r", "result: std::string", payload, effort);
       }},
      {"B-shared-r",
       [](const Effort& effort) {
         return measure_result<kept_shared>("B-shared-r", "result: SharedArray<double>", payload / sizeof(double),
                                            effort);
       }},
  };
}

}  // namespace yoke::bench
