// The tasks that the tests of the command `yoke` call by name.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
#include <yoke/yoke.hpp>

namespace {

std::string echo(const std::string& text) { return text; }
std::size_t length(const std::string& text) { return text.size(); }
std::string reversed(std::string text) {
  std::reverse(text.begin(), text.end());
  return text;
}
int add(int a, int b) { return a + b; }
double half(double value) { return value / 2; }
double infinite() { return std::numeric_limits<double>::infinity(); }
bool negate(bool value) { return !value; }
std::map<std::string, int> one_more(std::map<std::string, int> counts) {
  for (auto& [name, count] : counts) ++count;
  return counts;
}
void nothing(const std::string&) {}
std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "(not set)";
}

std::string not_when_bad(const std::string& text) {
  if (text == "bad") throw std::invalid_argument("this one is bad");
  if (text == "nested") {
    try {
      throw std::runtime_error("the reason");
    } catch (...) {
      std::throw_with_nested(std::logic_error("the outcome"));
    }
  }
  return text;
}

void refuse(const std::string& text) { throw std::runtime_error(text); }
void print(const std::string& text) { std::puts(text.c_str()); }

struct Node {
  int padding;
  int value;
};
[[gnu::noinline]] const Node* find_node(const std::string& text) {
  static const Node node{0, 1};
  return text == "crash" ? nullptr : &node;
}
// volatile: else gcc moves the read to the caller
[[gnu::noinline]] int value_of(const volatile Node* node) { return node->value; }
std::string crash_when_told(const std::string& text) { return text + std::to_string(value_of(find_node(text))); }

/// "hang" takes for ever.
std::string hang_when_told(const std::string& text) {
  while (text == "hang") ::pause();
  return text;
}

/// Dies the first time that it is called with this file, which it makes.
std::string die_once(const std::string& path) {
  const int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) ::_exit(3);
  return "alive";
}

/// Writes its pid to a fifo, and then takes for ever.
void tell_and_hang(const std::string& path) {
  std::ofstream(path) << ::getpid() << std::endl;
  for (;;) ::pause();
}

/// Returns when somebody has opened the fifo for writing and closed it again.
std::string wait_for_gate(const std::string& path) {
  std::ifstream gate(path);
  std::string line;
  std::getline(gate, line);
  return "open";
}

/// "fill" fills memory, slowly enough to be looked at, and keeps it.
std::string fill_memory(const std::string& text) {
  std::vector<std::string> all;
  while (text == "fill") {
    if (all.size() < 400) all.emplace_back(1'000'000, 'x');
    ::usleep(1000);
  }
  return text;
}

}  // namespace

YOKE_TASK(echo)
YOKE_TASK(length)
YOKE_TASK(reversed)
YOKE_TASK(add)
YOKE_TASK(half)
YOKE_TASK(infinite)
YOKE_TASK(negate)
YOKE_TASK(one_more)
YOKE_TASK(nothing)
YOKE_TASK(variable)
YOKE_TASK(not_when_bad)
YOKE_TASK(refuse)
YOKE_TASK(print)
YOKE_TASK(crash_when_told)
YOKE_TASK(hang_when_told)
YOKE_TASK(die_once)
YOKE_TASK(tell_and_hang)
YOKE_TASK(wait_for_gate)
YOKE_TASK(fill_memory)
