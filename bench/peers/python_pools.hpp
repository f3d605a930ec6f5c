// Python's process pools, measured by python_peers.py once in a run, and so mpi4py.futures.
#pragma once

#include <string>
#include <vector>

#include "bench/measure.hpp"
#include "bench/row.hpp"

namespace yoke::bench {

struct PythonFigures {
  struct Entry {
    std::string row;  // as the script calls it: S1, S3, S11
    Figure figure;    // in the script's unit
  };
  std::vector<Entry> entries;
  std::string missing;  // what is to be installed for those that are left out; empty: nothing

  /// The entries of this row of the script's, as the row's peers. `scale`: from the script's unit to the row's.
  void add_to(Row& row, const std::string& of, double scale) const;
};

/// Throws NotToBeHad where there is no Python to ask, std::runtime_error when the script fails.
const PythonFigures& python_figures(const Effort& effort);
/// S1 and S3 of mpi4py.futures.
const PythonFigures& mpi_figures(const Effort& effort);

}  // namespace yoke::bench
