// Packed values as JSON text on one line.
//
// What JSON has no word for: NaN and the infinities become null; bytes that are not UTF-8 become U+FFFD; binary data
// becomes an array of numbers; a map with keys that are no strings gets them as text if they are numbers, booleans or
// null, and is otherwise an array of [key, value].
#pragma once

#include <msgpack.hpp>
#include <string>
#include <string_view>

namespace yoke::tools {

/// Throws std::length_error if the value nests deeper than 1000.
void append_json(std::string& out, const msgpack::object& value);
void append_json_string(std::string& out, std::string_view text);
/// A key and its colon.
void append_json_key(std::string& out, std::string_view key);

}  // namespace yoke::tools
