// SHA-256, as FIPS 180-4 has it, of bytes that lie in memory.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace yoke::system {

/// In hexadecimal, as sha256sum prints it.
std::string sha256(std::span<const std::byte> bytes);

}  // namespace yoke::system
