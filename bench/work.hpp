// The functions that the measured tasks call: next to nothing, out of line, so that every peer calls them alike.
#pragma once

#include <span>
#include <vector>

namespace yoke::bench {

int inc(int value);
double ends_of_vector(std::vector<double> values);  // by value: the worker gets a vector of its own
double ends_of_span(std::span<const double> values);
int own_pid();
int hold_memory(int megabytes);  // allocates and touches it, for as long as the process lives
int spin_for_ever();
int sleep_for_ever();

}  // namespace yoke::bench
