// A shared library with functions for tasks, linked to its test.
#pragma once

#include "yoke/executor.hpp"

[[gnu::visibility("default")]] int triple_in_library(int value);
/// Submits a function that is hidden in the library.
[[gnu::visibility("default")]] yoke::Future<int> submit_hidden(yoke::Executor& executor, int value);
/// Submits a lambda of the library's.
[[gnu::visibility("default")]] yoke::Future<int> submit_library_lambda(yoke::Executor& executor, int value);
