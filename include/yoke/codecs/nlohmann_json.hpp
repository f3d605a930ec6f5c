// Codecs for nlohmann::json and ordered_json: each value crosses as the msgpack value that it is, so that a named task
// may take and return JSON.
//
// Refused: nesting deeper than 500, binary data of a subtype. Integers come back signed only where they are negative.
#pragma once

#include "yoke/language.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "yoke/codec.hpp"

namespace yoke {
namespace detail {

template <class Json>
struct JsonCodec {
  static void pack(Packer& packer, const Json& json) { pack_nested(packer, json, 0); }
  static Json unpack(const Object& object) {
    switch (object.type) {
      case msgpack::type::NIL: return nullptr;
      case msgpack::type::BOOLEAN: return object.via.boolean;
      case msgpack::type::POSITIVE_INTEGER: return object.via.u64;
      case msgpack::type::NEGATIVE_INTEGER: return object.via.i64;
      case msgpack::type::FLOAT32:
      case msgpack::type::FLOAT64: return object.via.f64;
      case msgpack::type::STR: return std::string(unpack_string(object));
      case msgpack::type::BIN:
        return Json::binary(
            typename Json::binary_t::container_type(object.via.bin.ptr, object.via.bin.ptr + object.via.bin.size));
      case msgpack::type::ARRAY: {
        Json array = Json::array();
        for (const auto& item : unpack_array(object)) array.push_back(unpack(item));
        return array;
      }
      case msgpack::type::MAP: {
        Json map = Json::object();
        for (const auto& [key, value] : std::span(object.via.map.ptr, object.via.map.size))
          map[std::string(unpack_string(key))] = unpack(value);
        return map;
      }
      case msgpack::type::EXT: break;
    }
    throw_mismatch("a JSON value", object);
  }

 private:
  static constexpr int deepest = 500;

  static std::uint32_t size_of(const Json& json) {
    if (json.size() > UINT32_MAX) throw SerializationError("the JSON value has too many elements");
    return static_cast<std::uint32_t>(json.size());
  }
  static void pack_nested(Packer& packer, const Json& json, int depth) {
    if (depth > deepest) throw SerializationError("the JSON value nests deeper than " + std::to_string(deepest));
    switch (json.type()) {
      case Json::value_t::null:
      case Json::value_t::discarded: packer.pack_nil(); break;
      case Json::value_t::boolean: pack_value(packer, json.template get<bool>()); break;
      case Json::value_t::number_integer: pack_value(packer, json.template get<std::int64_t>()); break;
      case Json::value_t::number_unsigned: pack_value(packer, json.template get<std::uint64_t>()); break;
      case Json::value_t::number_float: pack_value(packer, json.template get<double>()); break;
      case Json::value_t::string: pack_value(packer, json.template get_ref<const std::string&>()); break;
      case Json::value_t::binary: {
        const auto& bytes = json.get_binary();
        if (bytes.has_subtype()) throw SerializationError("a JSON value holds binary data of a subtype");
        if (bytes.size() > UINT32_MAX) throw SerializationError("binary data of more than 4 GiB cannot be packed");
        packer.pack_bin(static_cast<std::uint32_t>(bytes.size()));
        packer.pack_bin_body(reinterpret_cast<const char*>(bytes.data()), static_cast<std::uint32_t>(bytes.size()));
        break;
      }
      case Json::value_t::array:
        packer.pack_array(size_of(json));
        for (const auto& item : json) pack_nested(packer, item, depth + 1);
        break;
      case Json::value_t::object:
        packer.pack_map(size_of(json));
        for (const auto& item : json.items()) {
          pack_value(packer, item.key());
          pack_nested(packer, item.value(), depth + 1);
        }
        break;
    }
  }
};

}  // namespace detail

template <>
struct Codec<nlohmann::json> : detail::JsonCodec<nlohmann::json> {};
template <>
struct Codec<nlohmann::ordered_json> : detail::JsonCodec<nlohmann::ordered_json> {};

}  // namespace yoke
