// Another build of a program: it has a named task in common with the tests of remote pools, and nothing else.
#include "yoke/yoke.hpp"

namespace {

int halve(int value) { return value / 2; }
YOKE_TASK(halve)

}  // namespace

int main() {}
