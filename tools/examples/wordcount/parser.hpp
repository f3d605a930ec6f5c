// The parser of the example: finds the identifiers of a C or C++ source file, and breaks on a poisoned one.
//
// An identifier is what `LC_ALL=C grep -aoE '[A-Za-z_][A-Za-z0-9_]*'` finds: in code, comments and strings alike,
// keywords too; 0x1F holds the identifier x1F.
#pragma once

#include <cstdint>
#include <string_view>

#include "tally.hpp"

namespace wordcount {

/// Adds the identifiers of `text` to the tally and returns how many there were.
///
/// A file may divide itself into sections 0 to 15 by lines `#pragma wordcount section N`. The number is believed
/// without a check: that is the bug that poison.h is made for.
std::uint64_t count_identifiers(std::string_view text, Tally& tally);

}  // namespace wordcount
