#include "tests/chaos/tasks.hpp"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "yoke/yoke.hpp"

namespace yoke_test::chaos {
namespace {

std::uint32_t count_run(const Ticket& ticket) {
  ticket.runs.add(ticket.word);
  return ticket.word;
}

[[noreturn]] void sleep_for_ever() {
  for (;;) ::pause();
}

int add_one(int value) { return value + 1; }

}  // namespace

Parcel echo(const Ticket& ticket, std::string_view content) { return {count_run(ticket), std::string(content)}; }

std::uint32_t rest(const Ticket& ticket, int microseconds) {
  count_run(ticket);
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  return ticket.word;
}

std::uint32_t hang(const Ticket& ticket) {
  count_run(ticket);
  sleep_for_ever();
}

std::uint32_t fail(const Ticket& ticket) { throw std::domain_error(std::to_string(count_run(ticket))); }

std::uint32_t end_itself(const Ticket& ticket, Suicide way) {
  count_run(ticket);
  static int* volatile nowhere = reinterpret_cast<int*>(16);
  switch (way) {
    case Suicide::by_sigkill: ::kill(::getpid(), SIGKILL); break;
    case Suicide::by_bad_pointer: *nowhere = 1; break;
    case Suicide::by_abort: std::abort();
    case Suicide::by_exit: std::_Exit(suicide_exit_code);
  }
  sleep_for_ever();
}

std::uint32_t leave_children(const Ticket& ticket) {
  count_run(ticket);
  for (const bool stubborn : {false, true}) {
    if (::fork() != 0) continue;
    if (stubborn) ::signal(SIGTERM, SIG_IGN);
    sleep_for_ever();
  }
  return ticket.word;
}

int through_another_pool(const Ticket& ticket, int value) {
  count_run(ticket);
  yoke::ProcessPoolExecutor inner(1);
  return inner.submit(add_one, value).get();
}

std::uint32_t item(const Ticket& ticket, int microseconds) {
  rest(ticket, microseconds);
  if (item_fails(ticket.word)) throw std::domain_error(std::to_string(ticket.word));
  return ticket.word;
}

}  // namespace yoke_test::chaos
