// A program that may be given rights beyond its caller's. Says whether it has them, whose process it is, and what a
// pool of its own gives: the worker's ids, or why there is none. "as NUMBER": takes that user's rights for the time
// being.
#include <sys/auxv.h>
#include <unistd.h>
#include <yoke/yoke.hpp>

#include <cstdlib>
#include <iostream>
#include <string>

std::pair<unsigned, unsigned> ids() { return {::getuid(), ::geteuid()}; }

int main(int argc, char** argv) {
  if (argc == 3 && ::seteuid(static_cast<uid_t>(std::atoi(argv[2]))) != 0) return 1;
  std::cout << "secure " << ::getauxval(AT_SECURE) << std::endl
            << "main of " << ::getuid() << '/' << ::geteuid() << std::endl;
  try {
    yoke::ProcessPoolExecutor pool(1);
    const auto [user, effective] = pool.submit(ids).get();
    std::cout << "worker of " << user << '/' << effective << '\n';
  } catch (const std::exception& error) {
    std::cout << error.what() << '\n';
  }
  std::cout << "at most " << yoke::cpu_count() << std::endl;
}
