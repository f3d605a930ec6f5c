#include "tests/chaos/load.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <stdexcept>
#include <thread>

namespace yoke_test::chaos {
namespace {

using namespace std::chrono_literals;

/// Ends what would hang. Generous: nothing is measured by it.
constexpr std::chrono::seconds hang_guard{120};
constexpr std::uint32_t longest_content = 4 << 20;

/// What contents are cut from: no two places look alike.
const std::string& all_contents() {
  static const std::string text = [] {
    std::mt19937_64 random(1);
    std::string bytes(2 * longest_content, 0);
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  }();
  return text;
}

const auto is_word = [](std::uint32_t word) { return [word](std::uint32_t value) { return value == word; }; };

}  // namespace

std::string_view Load::some_content(std::uint32_t length) {
  return std::string_view(all_contents()).substr(below(longest_content), length);
}

yoke::TaskOptions Load::some_options() {
  yoke::TaskOptions options;
  if (one_in(3)) options.retries = 1 + static_cast<int>(below(5));
  if (one_in(4)) options.timeout = 10min;
  if (one_in(4)) options.priority = static_cast<int>(below(3)) - 1;
  return options;
}

template <class T, class... Parameters, class... Arguments>
Load::Sent<T> Load::send(const yoke::TaskOptions& options, Expected expected, T (*task)(const Ticket&, Parameters...),
                         const Arguments&... arguments) {
  const std::uint32_t word = round_.next_word++ % round_.runs.size;
  const std::uint32_t before = round_.runs.get(word);
  expected.retries = options.retries;
  ++round_.ledger.tasks;
  return {round_.pool.submit(options, task, Ticket{round_.runs, word}, arguments...), word, before, expected};
}

template <class T>
void Load::call_back(Sent<T>& sent) {
  sent.called = true;
  sent.calls_before = round_.calls.get(sent.word);
  sent.future.add_done_callback([this, word = sent.word, before = sent.calls_before](const yoke::Future<T>& future) {
    if (!future.done()) round_.ledger.wrong(fmt::format("task {}: called back before it was done", word));
    if (round_.calls.add(word) != before + 1) round_.ledger.wrong(fmt::format("task {}: called back twice", word));
    ++round_.ledger.callbacks;
  });
}

void Load::check_runs(std::uint32_t word, std::uint32_t before, std::uint32_t least, std::uint32_t most,
                      const char* of) {
  const std::uint32_t runs = round_.runs.get(word) - before;
  if (runs < least || runs > most)
    round_.ledger.wrong(fmt::format("task {}, {}: ran {} times, not {} to {}", word, of, runs, least, most));
}

/// Of something that this test has done, or the pool to this very task: its SIGTERM must not hit another.
void Load::check_death(std::uint32_t word, const yoke::TerminatedWorkerError& error, const Expected& expected) {
  const yoke::WorkerDeath& death = error.death();
  const bool by_killer = death.signal == SIGKILL || death.signal == SIGSEGV;
  const bool by_itself = death.signal == SIGABRT || (death.signal == 0 && death.exit_code == suicide_exit_code);
  const bool by_pool = death.signal == SIGTERM;
  if (!death.status_known || !(by_killer || (expected.ends_itself && by_itself) || (expected.out_of_time && by_pool)))
    round_.ledger.wrong(fmt::format("task {}: a death that nobody caused: {}", word, error.what()));
}

template <class T, class Right>
void Load::settle(const Sent<T>& sent, Right right) {
  const auto& [future, word, before, expected, called, calls_before] = sent;
  const auto most = static_cast<std::uint32_t>(1 + expected.retries);
  const auto wrong = [&, w = word](const std::string& what) {
    round_.ledger.wrong(fmt::format("task {}: {}", w, what));
  };
  if (future.wait_for(hang_guard) != std::future_status::ready)
    return wrong(fmt::format("not done in {} s: {}", hang_guard.count(), yoke::to_string(future.state())));
  try {
    if (!right(future.result())) wrong("a wrong value");
    ++round_.ledger.values;
    check_runs(word, before, 1, most, "a value");
    if (future.cancelled() || future.exception() != nullptr) wrong("a value, and something else too");
  } catch (const yoke::TerminatedWorkerError& error) {
    ++round_.ledger.lost;
    check_runs(word, before, 0, most, "a death");
    check_death(word, error, expected);
  } catch (const yoke::CancelledError&) {
    if (!expected.cancellable) wrong("cancelled by nobody");
    check_runs(word, before, 0, expected.killable ? most : most - 1, "cancelled");
    ++round_.ledger.cancelled;
  } catch (const yoke::TimeoutError& error) {
    if (!expected.out_of_time) wrong(fmt::format("out of time: {}", error.what()));
    check_runs(word, before, 0, most, "out of time");
    ++round_.ledger.timeouts;
  } catch (const std::domain_error& error) {
    if (error.what() != std::to_string(word)) wrong(fmt::format("another task's exception: {}", error.what()));
    check_runs(word, before, 1, most, "an exception");
    ++round_.ledger.exceptions;
  } catch (const std::exception& error) {
    wrong(fmt::format("an error that nothing explains: {}", error.what()));
  }
  if (!called) return;
  try {
    round_.calls.wait_for(word, calls_before + 1);
  } catch (const std::exception& error) {
    wrong(fmt::format("its callback: {}", error.what()));
  }
}

/// Arguments and results of all sizes, as many values as there are tasks.
void Load::echo_many(std::uint32_t most, std::uint32_t shortest, std::uint32_t longest) {
  std::vector<std::pair<Sent<Parcel>, std::string_view>> all;
  for (std::uint32_t count = 1 + below(most); count != 0; --count) {
    const std::string_view content = some_content(shortest + below(longest - shortest));
    round_.ledger.bytes += content.size();
    all.emplace_back(send(some_options(), {}, echo, content), content);
    if (one_in(3)) call_back(all.back().first);
  }
  for (const auto& [sent, content] : all)
    settle(sent,
           [&, w = sent.word, c = content](const Parcel& parcel) { return parcel.word == w && parcel.content == c; });
}

void Load::cancel_some() {
  std::vector<Sent<std::uint32_t>> all;
  for (std::uint32_t count = 1 + below(20); count != 0; --count) {
    all.push_back(send(some_options(), {.cancellable = true}, rest, static_cast<int>(below(2000))));
    if (one_in(2)) call_back(all.back());
  }
  std::this_thread::sleep_for(std::chrono::microseconds(below(2000)));
  for (auto& sent : all) {
    if (one_in(3)) continue;
    sent.expected.killable = one_in(6);
    const bool was_cancelled =
        sent.future.cancel(sent.expected.killable ? yoke::CancelMode::kill : yoke::CancelMode::if_not_started);
    if (was_cancelled != sent.future.cancelled())
      round_.ledger.wrong(fmt::format("task {}: cancel said {}", sent.word, was_cancelled));
  }
  for (auto& sent : all) settle(sent, is_word(sent.word));
  auto endless = send(some_options(), {.cancellable = true, .killable = true}, hang);
  std::this_thread::sleep_for(std::chrono::microseconds(below(5000)));
  endless.future.cancel(yoke::CancelMode::kill);
  settle(endless, is_word(endless.word));
}

/// Beside tasks of other threads that must not notice; some end just when their time does.
void Load::run_out_of_time() {
  std::vector<Sent<std::uint32_t>> all;
  for (std::uint32_t count = 1 + below(3); count != 0; --count) {
    const auto timeout = 1ms + std::chrono::milliseconds(below(10));
    const yoke::TaskOptions options{.timeout = timeout, .retries = static_cast<int>(below(2))};
    const auto close_to_it =
        static_cast<int>(std::chrono::microseconds(timeout).count()) - 200 + static_cast<int>(below(300));
    all.push_back(one_in(2) ? send(options, {.out_of_time = true}, hang)
                            : send(options, {.out_of_time = true}, rest, close_to_it));
    if (one_in(2)) call_back(all.back());
  }
  for (const auto& sent : all) settle(sent, is_word(sent.word));
}

void Load::throw_some() {
  std::vector<Sent<std::uint32_t>> all;
  for (std::uint32_t count = 1 + below(50); count != 0; --count) all.push_back(send(some_options(), {}, fail));
  for (const auto& sent : all) settle(sent, [](std::uint32_t) { return false; });
}

void Load::end_workers() {
  const yoke::TaskOptions options{.retries = static_cast<int>(below(3))};
  auto sent = send(options, {.ends_itself = true}, end_itself, static_cast<Suicide>(below(ways_to_end)));
  call_back(sent);
  settle(sent, [](std::uint32_t) { return false; });
}

void Load::map_some() {
  const std::size_t count = below(200);
  std::vector<Ticket> tickets(count);
  std::vector<std::uint32_t> before(count);
  for (std::size_t i = 0; i < count; ++i) {
    tickets[i] = {round_.runs, round_.next_word++ % round_.runs.size};
    before[i] = round_.runs.get(tickets[i].word);
  }
  yoke::MapOptions options;
  options.chunksize = 1 + below(30);
  options.task = some_options();
  if (one_in(3)) options.buffersize = 1 + below(100);
  const std::size_t taken = one_in(5) ? below(200) : count;  // what is left then is cancelled
  const auto most = static_cast<std::uint32_t>(1 + options.task.retries);
  round_.ledger.tasks += (count + *options.chunksize - 1) / *options.chunksize;
  auto results = round_.pool.map(options, item, tickets, std::vector<int>(count, static_cast<int>(below(100))));
  std::size_t i = 0;
  std::optional<std::size_t> lost_chunk;
  for (auto it = results.begin(); it != results.end() && i != taken; ++it, ++i) {
    const std::uint32_t word = tickets[i].word;
    try {
      if (*it != word || item_fails(word)) round_.ledger.wrong(fmt::format("item {}: a wrong value", word));
      ++round_.ledger.values;
      check_runs(word, before[i], 1, most, "an item's value");
    } catch (const std::domain_error& error) {
      if (!item_fails(word) || error.what() != std::to_string(word))
        round_.ledger.wrong(fmt::format("item {}: another one's exception: {}", word, error.what()));
      ++round_.ledger.exceptions;
      check_runs(word, before[i], 1, most, "an item's exception");
    } catch (const yoke::TerminatedWorkerError& error) {
      if (lost_chunk != i / *options.chunksize) ++round_.ledger.lost;
      lost_chunk = i / *options.chunksize;
      check_death(word, error, {});
      check_runs(word, before[i], 0, most, "an item's death");
    } catch (const std::exception& error) {
      round_.ledger.wrong(fmt::format("item {}: an error that nothing explains: {}", word, error.what()));
    }
  }
  if (i != std::min(taken, count)) round_.ledger.wrong(fmt::format("map: {} of {} items", i, count));
}

void Load::complete_some() {
  std::vector<Sent<std::uint32_t>> all;
  std::vector<yoke::Future<std::uint32_t>> futures;
  for (std::uint32_t count = 1 + below(30); count != 0; --count) {
    all.push_back(one_in(10) ? send(some_options(), {}, fail)
                             : send(some_options(), {}, rest, static_cast<int>(below(500))));
    futures.push_back(all.back().future);
  }
  if (one_in(2)) {
    const auto [done, not_done] = yoke::wait(futures, hang_guard, yoke::ReturnWhen::first_completed);
    if (done.empty() || done.size() + not_done.size() != futures.size())
      round_.ledger.wrong(fmt::format("wait: {} done, {} not", done.size(), not_done.size()));
  }
  std::size_t completed = 0;
  try {
    for (const auto& future : yoke::as_completed(futures, hang_guard)) {
      ++completed;
      if (!future.done()) round_.ledger.wrong("as_completed: a future that is not done");
    }
  } catch (const yoke::TimeoutError& error) {
    round_.ledger.wrong(fmt::format("as_completed: {}", error.what()));
  }
  if (completed != futures.size())
    round_.ledger.wrong(fmt::format("as_completed: {} of {}", completed, futures.size()));
  for (const auto& sent : all) settle(sent, is_word(sent.word));
}

/// Futures that nobody holds: their callbacks are called all the same.
void Load::drop_some() {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> calls;
  for (std::uint32_t count = 1 + below(20); count != 0; --count) {
    auto sent = send(some_options(), {}, echo, some_content(below(100'000)));
    call_back(sent);
    calls.emplace_back(sent.word, sent.calls_before + 1);
  }
  for (const auto& [word, count] : calls) {
    try {
      round_.calls.wait_for(word, count);
    } catch (const std::exception& error) {
      round_.ledger.wrong(fmt::format("dropped task {}: {}", word, error.what()));
    }
  }
}

void Load::chain_callbacks() {
  auto first = send(some_options(), {}, rest, 10);
  auto second = send(some_options(), {}, rest, 10);
  auto third = std::make_shared<std::promise<yoke::Future<std::uint32_t>>>();
  auto told = third->get_future();
  const std::uint32_t word = round_.next_word++ % round_.runs.size;
  const std::uint32_t before = round_.runs.get(word);
  ++round_.ledger.tasks;
  first.future.add_done_callback([this, second = second.future, third, word](const auto&) {
    second.add_done_callback([this, third, word](const auto&) {
      third->set_value(round_.pool.submit(rest, Ticket{round_.runs, word}, 10));
      ++round_.ledger.callbacks;
    });
    ++round_.ledger.callbacks;
  });
  settle(first, is_word(first.word));
  settle(second, is_word(second.word));
  if (told.wait_for(hang_guard) != std::future_status::ready) return round_.ledger.wrong("a chain of callbacks broke");
  settle(Sent<std::uint32_t>{told.get(), word, before, {}}, is_word(word));
}

void Load::leave_children_behind() {
  const auto sent = send(some_options(), {}, leave_children);
  settle(sent, is_word(sent.word));
}

void Load::nest() {
  const int value = static_cast<int>(below(1000));
  const auto sent = send(some_options(), {}, through_another_pool, value);
  settle(sent, [&](int result) { return result == value + 1; });
}

void Load::resize() { round_.pool.resize(1 + static_cast<int>(below(static_cast<std::uint32_t>(2 * round_.workers)))); }

void Load::run() {
  while (!round_.stop) {
    const std::uint32_t choice = below(100);
    if (choice < 30)
      echo_many(200, 0, 100);
    else if (choice < 45)
      echo_many(20, 100, 64 << 10);
    else if (choice < 50)
      echo_many(3, 64 << 10, longest_content);
    else if (choice < 60)
      cancel_some();
    else if (choice < 66)
      run_out_of_time();
    else if (choice < 72)
      throw_some();
    else if (choice < 74)
      end_workers();
    else if (choice < 82)
      map_some();
    else if (choice < 90)
      complete_some();
    else if (choice < 93)
      drop_some();
    else if (choice < 96)
      chain_callbacks();
    else if (choice < 97)
      leave_children_behind();
    else if (choice < 98)
      nest();
    else
      resize();
  }
}

}  // namespace yoke_test::chaos
