// The table of figures, for people.
#pragma once

#include "bench/curve.hpp"
#include "bench/row.hpp"

namespace yoke::bench {

void print_head();
void print_row(const Row& row);      // and its peers, one line each, with their spread
void print_curves_head();
void print_curve(const Curve& curve);  // a line each, a column for each x: median, and half the spread in per cent
void print_guard(const Row& row);    // one line

}  // namespace yoke::bench
