// What late_tasks.cpp and the tests that open it have in common.
#pragma once

struct LateValue {
  int value = 0;
};
