// YOKE_ASSERT: what must be true of our own state, whatever workers and programs do. Checked where the library is built
// for tests or for debugging; elsewhere it costs nothing.
#pragma once

#ifdef YOKE_ASSERTIONS
#include <cstdio>
#include <cstdlib>

#define YOKE_ASSERT(condition)                                                                   \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      std::fprintf(stderr, "yoke: %s:%d: this is not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                              \
    }                                                                                            \
  } while (false)
#else
#define YOKE_ASSERT(condition) static_cast<void>(0)
#endif
