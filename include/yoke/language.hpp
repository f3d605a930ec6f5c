// What the compiler must be told for yoke's headers. Each of them includes this one first, so that its sentence is the
// first error.
#pragma once

#if __cplusplus < 202002L
#error "yoke needs C++20: compile with -std=c++20"
#elif !defined(__cpp_exceptions)
#error "yoke needs exceptions, for a worker's death is told by one: compile without -fno-exceptions"
#elif !defined(__cpp_rtti)
#error "yoke needs typeid, by which errors name types: compile without -fno-rtti"
#endif
