// msgpack objects to JSON text, without a tree in between.
#include "json_writer.hpp"

#include <fmt/format.h>

#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>

#include "lib/wire/printable.hpp"

namespace yoke::tools {
namespace {

using Object = msgpack::object;
constexpr int deepest = 1000;

void append(std::string& out, const Object& value, int depth);

template <class Float>
void append_float(std::string& out, Float value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  const std::size_t begin = out.size();
  fmt::format_to(std::back_inserter(out), "{}", value);
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";  // stays a float for whoever reads it
}

void append_bytes(std::string& out, std::span<const char> bytes) {
  out += '[';
  for (std::size_t i = 0; i < bytes.size(); ++i)
    fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ",", static_cast<unsigned char>(bytes[i]));
  out += ']';
}

bool is_simple(const Object& key) {
  switch (key.type) {
    case msgpack::type::ARRAY:
    case msgpack::type::MAP:
    case msgpack::type::BIN:
    case msgpack::type::EXT: return false;
    default: return true;
  }
}

void append_map(std::string& out, std::span<const msgpack::object_kv> pairs, int depth) {
  bool simple = true;
  for (const auto& pair : pairs) simple = simple && is_simple(pair.key);
  out += simple ? '{' : '[';
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i > 0) out += ',';
    if (!simple) out += '[';
    const bool quote = simple && pairs[i].key.type != msgpack::type::STR;
    if (quote) out += '"';
    append(out, pairs[i].key, depth);
    if (quote) out += '"';
    out += simple ? ':' : ',';
    append(out, pairs[i].val, depth);
    if (!simple) out += ']';
  }
  out += simple ? '}' : ']';
}

void append(std::string& out, const Object& value, int depth) {
  if (depth > deepest) throw std::length_error("the value nests too deep to be written as JSON");
  switch (value.type) {
    case msgpack::type::NIL: out += "null"; break;
    case msgpack::type::BOOLEAN: out += value.via.boolean ? "true" : "false"; break;
    case msgpack::type::POSITIVE_INTEGER: fmt::format_to(std::back_inserter(out), "{}", value.via.u64); break;
    case msgpack::type::NEGATIVE_INTEGER: fmt::format_to(std::back_inserter(out), "{}", value.via.i64); break;
    case msgpack::type::FLOAT32: append_float(out, static_cast<float>(value.via.f64)); break;
    case msgpack::type::FLOAT64: append_float(out, value.via.f64); break;
    case msgpack::type::STR: append_json_string(out, {value.via.str.ptr, value.via.str.size}); break;
    case msgpack::type::BIN: append_bytes(out, {value.via.bin.ptr, value.via.bin.size}); break;
    case msgpack::type::EXT: append_bytes(out, {value.via.ext.data(), value.via.ext.size}); break;
    case msgpack::type::ARRAY:
      out += '[';
      for (std::uint32_t i = 0; i < value.via.array.size; ++i) {
        if (i > 0) out += ',';
        append(out, value.via.array.ptr[i], depth + 1);
      }
      out += ']';
      break;
    case msgpack::type::MAP: append_map(out, {value.via.map.ptr, value.via.map.size}, depth + 1); break;
  }
}

}  // namespace

void append_json(std::string& out, const msgpack::object& value) { append(out, value, 0); }

void append_json_string(std::string& out, std::string_view text) {
  const auto quoted = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  out += wire::printable(quoted, wire::Lines::one);  // what it leaves as it is, and a terminal would obey
}

void append_json_key(std::string& out, std::string_view key) {
  append_json_string(out, key);
  out += ':';
}

}  // namespace yoke::tools
