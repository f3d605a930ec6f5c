// Prints before its main: what an agent writes behind it must be found all the same.
#include <cstdio>

#include "yoke/yoke.hpp"

namespace {

int halve(int value) { return value / 2; }
YOKE_TASK(halve)

const bool printed = [] {
  std::puts("Welcome to this host.\nyoke-agent is no word of a banner, but this one has it.");
  return std::fflush(stdout) == 0;
}();

}  // namespace

int main() { return printed ? 0 : 1; }
