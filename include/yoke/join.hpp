// YOKE_JOIN(a, b): one name from two, after macros in them are expanded.
#pragma once

#include "yoke/language.hpp"

#define YOKE_JOIN_(a, b) a##b
#define YOKE_JOIN(a, b) YOKE_JOIN_(a, b)
