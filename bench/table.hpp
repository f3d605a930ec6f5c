// The table of figures, for people; and the raw results, as JSON.
#pragma once

#include <string>
#include <vector>

#include "bench/row.hpp"

namespace yoke::bench {

void print_head(const std::string& machine);
void print_row(const Row& row);  // and its peers, one line each, with their spread

/// Throws std::runtime_error when the file cannot be written.
void write_json(const std::string& path, const std::string& machine, const std::vector<Row>& rows);

}  // namespace yoke::bench
