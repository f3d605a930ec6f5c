// The functions that the measured tasks call: next to nothing, or a known amount, out of line, so that every peer calls
// them alike.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "yoke/shared_array.hpp"

namespace yoke::bench {

int inc(int value);
int compute(int rounds);  // about a nanosecond each; needs no memory
int rounds_of(double microseconds);  // as many as take so long on this machine, measured at the first call
int sleep_microseconds(int microseconds);

double ends_of_vector(std::vector<double> values);  // by value: the worker gets a vector of its own
double ends_of_span(std::span<const double> values);
int ends_of_string(std::string text);
int ends_of_view(std::string_view text);
double ends_of_shared(SharedArray<double> values);
int inc_beside(int value, SharedArray<double> values);  // reads the ends too
const std::vector<double>& kept_vector(std::size_t size);  // made at the first call with a size, and kept
const std::string& kept_string(std::size_t size);
const SharedArray<double>& kept_shared(std::size_t size);

int own_pid();
int hold_memory(int megabytes);  // allocates and touches it, for as long as the process lives
int wait_at_gate(int pid, int descriptor);  // gate.hpp
int spin_for_ever();
int sleep_for_ever();

}  // namespace yoke::bench
