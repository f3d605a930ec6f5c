// C17: chaos. Workers are killed at random instants while threads submit, map, cancel and resize; every future resolves
// once, with the right value or for a reason; and at the end all is as it was at the start.
//
// It runs in rounds, each with a pool of its own whose options are drawn too. After each, descriptors, threads, mapped
// memory files and processes are compared with the start; at the end also the heap.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "tests/chaos/killer.hpp"
#include "tests/chaos/load.hpp"
#include "tests/support/house.hpp"
#include "tests/support/sanitized.hpp"

namespace {

using namespace yoke_test;
using namespace yoke_test::chaos;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int loads = 8;
constexpr unsigned words = 4 << 20;  // tasks between two that count on the same word
constexpr Clock::duration round_length = 10s;
constexpr std::size_t allowed_growth = 64
                                       << 20;  // of private memory: what malloc's arenas keep goes up and down by 50 MB

struct Settings {
  double seconds = 60;
  double minutes = 0;
  std::uint64_t seed = std::random_device()();
  int workers = 5;
  double pause_ms = 15;
  bool progress = false;

  Clock::duration length() const {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(minutes > 0 ? minutes * 60 : seconds));
  }
};

yoke::ExecutorOptions some_options(int workers, std::mt19937_64& random) {
  yoke::ExecutorOptions options;
  options.max_workers = workers;
  options.restart_budget = {.deaths = 1'000'000'000};
  options.kill_grace = 100ms;
  if (random() % 3 == 0) options.timeout = std::chrono::milliseconds(1 + random() % 30);
  if (random() % 3 == 0) options.max_tasks_per_worker = 1 + static_cast<int>(random() % 500);
  options.spawn_eagerly = random() % 4 == 0;
  if (sanitized) {  // a crash is to be the signal that it is elsewhere, and no report
    const char* set = std::getenv("ASAN_OPTIONS");
    options.env["ASAN_OPTIONS"] = fmt::format("{}:handle_segv=0:handle_abort=0", set ? set : "");
  }
  return options;
}

class Chaos {
 public:
  explicit Chaos(const Settings& settings) : settings_(settings), random_(settings.seed) {}

  /// True if nothing was wrong.
  bool run() {
    round(round_length);  // what the library and the tests keep for the life of the process is there now
    const Belongings before = look_around();
    const std::size_t heap_before = heap();
    begin_ = Clock::now();
    while (Clock::now() < begin_ + settings_.length()) {
      round(std::min(round_length, begin_ + settings_.length() - Clock::now()));
      if (const auto trouble = wait_until_clean(before); !trouble.empty()) ledger_.wrong("left behind:\n" + trouble);
    }
    const std::size_t heap_after = heap();
    if (!sanitized && heap_after > heap_before + allowed_growth)
      ledger_.wrong(fmt::format("the heap grew from {} to {} MB", heap_before >> 20, heap_after >> 20));
    tell("in all");
    fmt::print("chaos: heap {} MB before, {} MB after; {}; --seed {}\n", heap_before >> 20, heap_after >> 20,
               ledger_.troubles == 0 ? "nothing wrong" : fmt::format("{} wrong", ledger_.troubles.load()),
               settings_.seed);
    return ledger_.troubles == 0;
  }

 private:
  static std::size_t heap() {
    ::malloc_trim(0);
    return private_memory();
  }
  void tell(const char* when) const {
    fmt::print("chaos: {} after {:.0f} s, heap {} MB: {}\n", when,
               std::chrono::duration<double>(Clock::now() - begin_).count(), private_memory() >> 20, ledger_.text());
    std::fflush(stdout);
  }

  void round(Clock::duration length) {
    yoke::ProcessPoolExecutor pool(some_options(settings_.workers, random_));
    Round round{pool, settings_.workers, runs_, calls_, next_word_, ledger_};
    Killer killer(pool, ledger_, std::chrono::microseconds(static_cast<std::int64_t>(settings_.pause_ms * 1000)),
                  random_());
    std::vector<std::unique_ptr<Load>> all;
    std::vector<std::thread> threads;
    for (int i = 0; i < loads; ++i) {
      all.push_back(std::make_unique<Load>(round, random_()));
      threads.emplace_back([&load = *all.back()] { load.run(); });
    }
    threads.emplace_back([&] { killer.run(round.stop); });
    std::this_thread::sleep_for(length);
    round.stop = true;
    for (auto& thread : threads) thread.join();
    pool.shutdown();
    const yoke::Stats stats = pool.stats();
    ledger_.deaths += stats.deaths;
    ledger_.retries += stats.retried;
    ledger_.workers += stats.started;
    if (stats.submitted != stats.done + stats.failed + stats.cancelled)
      ledger_.wrong(fmt::format("{} tasks submitted, but {} done, {} failed, {} cancelled", stats.submitted, stats.done,
                                stats.failed, stats.cancelled));
    if (ledger_.lost > ledger_.deaths)
      ledger_.wrong(fmt::format("{} tasks lost to {} deaths", ledger_.lost.load(), ledger_.deaths.load()));
    if (settings_.progress) tell("so far");
  }

  const Settings settings_;
  std::mt19937_64 random_;
  Ledger ledger_;
  const Board runs_ = put_up_board(words);
  const Board calls_ = put_up_board(words);
  std::atomic<std::uint32_t> next_word_{0};
  Clock::time_point begin_ = Clock::now();
};

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Kills worker processes at random while tasks of all kinds run, and checks what becomes of each.");
  app.add_option("--seconds", settings.seconds, "how long (default: 60)");
  app.add_option("--minutes", settings.minutes, "the same, in minutes");
  app.add_option("--seed", settings.seed, "of all that is random here; the scheduling is not");
  app.add_option("--workers", settings.workers, "most worker processes at a time (default: 5)");
  app.add_option("--pause", settings.pause_ms, "milliseconds between kills, on average (default: 15)");
  app.add_flag("--progress", settings.progress, "a line every 10 s");
  CLI11_PARSE(app, argc, argv);
  const rlimit no_cores{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_cores);
  mark_descendants();
  return Chaos(settings).run() ? 0 : 1;
}
