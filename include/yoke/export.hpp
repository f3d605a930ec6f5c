// YOKE_API marks what the shared library exports; all else is hidden.
#pragma once

#include "yoke/language.hpp"

#define YOKE_API __attribute__((visibility("default")))
